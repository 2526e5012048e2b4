//! What is refused, and what a change changes.

use audit_logs::proto::v1::{
    DatadogDestination, GenericHttpsDestination, HttpHeader, KafkaDestination,
    LogStreamDestination, LogStreamPayload, LogStreamsCreateRequest,
    LogStreamsListDeadLettersRequest, LogStreamsListRequest, LogStreamsRedriveDeadLettersRequest,
    LogStreamsUpdateRequest, OtlpDestination, S3Destination, SplunkDestination, SyslogDestination,
    log_stream_destination::Kind,
};
use tonic::Code;

use super::support::{
    TOKEN, create, datadog_receiver, get, https_receiver, record, server, stream_of_acme,
    to_datadog, to_datadog_with, to_https, until_next,
};
use crate::{
    receivers::{GenericHttps, Receiver, RequestForm},
    rest::calls::Rest,
    support::{Engine, on_every_engine, status::Refusal},
};

on_every_engine!(
    a_bad_destination_is_refused_by_its_fields,
    the_number_of_streams_is_bounded,
    an_update_keeps_what_it_does_not_name,
    an_update_tells_whether_secrets_changed,
    a_secret_does_not_follow_its_destination_elsewhere,
    a_moved_destination_still_signs,
    a_role_has_an_external_id_that_stays,
    certificates_belong_to_a_kind,
    the_system_log_can_be_read_and_not_written,
    the_configuration_shows_the_oldest_stream,
);

/// Signs what is sent.
const SIGNING_SECRET: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn to(kind: Kind) -> LogStreamDestination {
    LogStreamDestination { kind: Some(kind), ..Default::default() }
}

#[expect(clippy::too_many_lines, reason = "a table")]
async fn a_bad_destination_is_refused_by_its_fields(engine: Engine) {
    let server = server(engine).await;
    let https = |url: &str| GenericHttpsDestination { url: url.into(), ..Default::default() };
    let header = |name: &str, value: &str| HttpHeader { name: name.into(), value: value.into() };
    let table: Vec<(LogStreamDestination, &[(&str, &str)])> = vec![
        (
            to(Kind::Datadog(DatadogDestination::default())),
            &[
                ("destination.datadog.api_key", "REQUIRED"),
                ("destination.datadog.region", "REQUIRED"),
            ],
        ),
        (
            to(Kind::Datadog(DatadogDestination {
                api_key: TOKEN.into(),
                region: "MARS".into(),
                ..Default::default()
            })),
            &[("destination.datadog.region", "UNKNOWN")],
        ),
        (
            to(Kind::Splunk(SplunkDestination { encoding: 77, ..Default::default() })),
            &[("destination.splunk.encoding", "UNKNOWN")],
        ),
        (
            to(Kind::GenericHttps(https("http://plain.example"))),
            &[("destination.generic_https.url", "INVALID_CHARACTERS")],
        ),
        (
            to(Kind::GenericHttps(GenericHttpsDestination {
                headers: vec![header("X-A", "1"), header("x-a", "2"), header("Host", "x")],
                signing_secret: "whsec_short".into(),
                ..https("https://a.example")
            })),
            &[
                ("destination.generic_https.headers[1].name", "DUPLICATE"),
                ("destination.generic_https.headers[2].name", "CONFLICT"),
                ("destination.generic_https.signing_secret", "INVALID_CHARACTERS"),
            ],
        ),
        (
            to(Kind::S3(S3Destination { bucket: "a/b".into(), ..Default::default() })),
            &[
                ("destination.s3.bucket", "INVALID_CHARACTERS"),
                ("destination.s3.role_name", "REQUIRED"),
            ],
        ),
        (
            to(Kind::Syslog(SyslogDestination { port: 70_000, ..Default::default() })),
            &[("destination.syslog.port", "OUT_OF_RANGE")],
        ),
        (
            to(Kind::Kafka(KafkaDestination {
                bootstrap_servers: vec!["broker".into()],
                ..Default::default()
            })),
            &[
                ("destination.kafka.bootstrap_servers[0]", "INVALID_CHARACTERS"),
                ("destination.kafka.topic", "REQUIRED"),
            ],
        ),
        (LogStreamDestination::default(), &[("destination", "REQUIRED")]),
    ];
    let mut streams = server.log_streams().await;
    for (destination, fields) in table {
        let refused = streams.create(stream_of_acme(destination)).await.unwrap_err();
        let refusal = Refusal::of(&refused);
        assert_eq!((refusal.code, &*refusal.reason), (Code::InvalidArgument, "INVALID_REQUEST"));
        for (field, reason) in fields {
            assert!(refusal.names(field, reason), "{field} {reason}: {refusal:?}");
        }
        assert!(!refused.message().contains(TOKEN));
    }
    let ocsf = LogStreamsCreateRequest {
        payload: LogStreamPayload::Ocsf.into(),
        ..stream_of_acme(to(Kind::Otlp(OtlpDestination {
            endpoint: "https://collector.example".into(),
            ..Default::default()
        })))
    };
    let refused = streams.create(ocsf).await.unwrap_err();
    assert!(Refusal::of(&refused).names("payload", "CONFLICT"));
    assert_eq!(server.count("log_streams").await, 0);
    // Where the network is not allowed the destination is refused when it is dialled.
    let receiver = https_receiver().await;
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let limit =
        LogStreamsListDeadLettersRequest { log_stream_id: id.clone(), limit: 101, after: None };
    let refused = streams.list_dead_letters(limit).await.unwrap_err();
    assert!(Refusal::of(&refused).names("limit", "OUT_OF_RANGE"));
    let redrive =
        LogStreamsRedriveDeadLettersRequest { log_stream_id: id, sequences: vec![1; 1_001] };
    let refused = streams.redrive_dead_letters(redrive).await.unwrap_err();
    assert!(Refusal::of(&refused).names("sequences", "TOO_MANY"));
}

async fn the_number_of_streams_is_bounded(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    for _ in 0..5 {
        create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    }
    let one_more = stream_of_acme(to_https(&receiver, TOKEN));
    let refused = server.log_streams().await.create(one_more).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "TOO_MANY_LOG_STREAMS");
    // The list has them all, a page at a time, newest first.
    let mut request = LogStreamsListRequest { limit: 2, ..Default::default() };
    let mut listed = Vec::new();
    loop {
        let page = server.log_streams().await.list(request.clone()).await.unwrap().into_inner();
        listed.extend(page.log_streams.into_iter().map(|stream| stream.id));
        request.after = page.list_metadata.unwrap().after;
        if request.after.is_empty() {
            break;
        }
    }
    let mut sorted = listed.clone();
    sorted.sort_by(|a, b| b.cmp(a));
    sorted.dedup();
    assert_eq!((listed.len(), listed), (5, sorted));
}

async fn an_update_keeps_what_it_does_not_name(engine: Engine) {
    let (server, receiver) = (server(engine).await, datadog_receiver().await);
    let mut destination = to_datadog(&receiver);
    let id = create(&server, stream_of_acme(destination.clone())).await;
    let mut streams = server.log_streams().await;
    let rename = LogStreamsUpdateRequest {
        log_stream_id: id.clone(),
        name: Some("SOC".into()),
        ..Default::default()
    };
    streams.update(rename).await.unwrap();
    // A destination without its secret keeps the secret.
    if let Some(Kind::Datadog(datadog)) = &mut destination.kind {
        datadog.api_key = String::new();
        datadog.source = "acme".into();
    }
    let update = LogStreamsUpdateRequest {
        log_stream_id: id.clone(),
        destination: Some(destination),
        payload: LogStreamPayload::Ocsf.into(),
        ..Default::default()
    };
    streams.update(update).await.unwrap();
    record(&mut server.client().await, "acme", 1).await;
    until_next(&server, &id, 1).await;
    let stream = get(&server, &id).await;
    assert_eq!((stream.name.as_str(), stream.payload()), ("SOC", LogStreamPayload::Ocsf));
    assert!(receiver.accepted()[0].get("class_uid").is_some(), "{:?}", receiver.accepted());
    // Another kind is another stream.
    let other = https_receiver().await;
    let update = LogStreamsUpdateRequest {
        log_stream_id: id,
        destination: Some(to_https(&other, TOKEN)),
        ..Default::default()
    };
    let refused = streams.update(update).await.unwrap_err();
    assert!(Refusal::of(&refused).names("destination", "CONFLICT"));
}

async fn an_update_tells_whether_secrets_changed(engine: Engine) {
    let (server, receiver) = (server(engine).await, datadog_receiver().await);
    let id = create(&server, stream_of_acme(to_datadog(&receiver))).await;
    let mut streams = server.log_streams().await;
    let rename = LogStreamsUpdateRequest {
        log_stream_id: id.clone(),
        name: Some("SOC".into()),
        ..Default::default()
    };
    streams.update(rename).await.unwrap();
    let with_key = |key| LogStreamsUpdateRequest {
        log_stream_id: id.clone(),
        destination: Some(to_datadog_with(&receiver, key)),
        ..Default::default()
    };
    // Sent without its secret, a destination keeps it.
    streams.update(with_key("")).await.unwrap();
    let changed = |told: &str| {
        format!(
            "SELECT CAST(COUNT(*) AS BIGINT) FROM events WHERE action = 'log_stream.updated' \
             AND {} LIKE '%\"secrets_changed\":{told}%'",
            if engine == Engine::Sqlite {
                "CAST(payload AS TEXT)"
            } else {
                "convert_from(payload, 'UTF8')"
            }
        )
    };
    let told = async |told| server.query_integers(&changed(told)).await[0];
    assert_eq!((told("false").await, told("true").await), (2, 0));
    streams.update(with_key("another-key")).await.unwrap();
    assert_eq!((told("false").await, told("true").await), (2, 1));
}

async fn a_secret_does_not_follow_its_destination_elsewhere(engine: Engine) {
    let (server, receiver) = (server(engine).await, datadog_receiver().await);
    let id = create(&server, stream_of_acme(to_datadog(&receiver))).await;
    // It must be sent again: it was not meant for that place.
    let elsewhere = LogStreamDestination {
        kind: Some(Kind::Datadog(DatadogDestination {
            endpoint: "https://elsewhere.example".into(),
            ..Default::default()
        })),
        ca_certificates_pem: receiver.ca_pem().to_owned(),
    };
    let update = LogStreamsUpdateRequest {
        log_stream_id: id,
        destination: Some(elsewhere),
        ..Default::default()
    };
    let refused = server.log_streams().await.update(update).await.unwrap_err();
    assert!(Refusal::of(&refused).names("destination.datadog.api_key", "REQUIRED"));
}

/// The signing secret is never sent: it stays when the place changes, and nothing goes out unsigned.
async fn a_moved_destination_still_signs(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    let mut destination = to_https(&receiver, TOKEN);
    let Some(Kind::GenericHttps(https)) = &mut destination.kind else { panic!() };
    https.signing_secret = SIGNING_SECRET.into();
    let id = create(&server, stream_of_acme(destination)).await;
    let signed = GenericHttps::new(TOKEN, RequestForm::Json).with_secret(SIGNING_SECRET);
    let another = Receiver::start(signed).await;
    let mut streams = server.log_streams().await;
    let update = |token: &str| LogStreamsUpdateRequest {
        log_stream_id: id.clone(),
        destination: Some(to_https(&another, token)),
        ..Default::default()
    };
    let refused = streams.update(update("")).await.unwrap_err();
    let field = "destination.generic_https.headers[0].value";
    assert!(Refusal::of(&refused).names(field, "REQUIRED"), "{refused:?}");
    streams.update(update(TOKEN)).await.unwrap();
    record(&mut server.client().await, "acme", 1).await;
    until_next(&server, &id, 1).await;
    assert_eq!(another.count(), 1);
}

async fn a_role_has_an_external_id_that_stays(engine: Engine) {
    let server = server(engine).await;
    let s3 = |s3: S3Destination| to(Kind::S3(S3Destination { bucket: "logs".into(), ..s3 }));
    let key = || {
        s3(S3Destination {
            access_key_id: "AKIA".into(),
            secret_access_key: TOKEN.into(),
            ..Default::default()
        })
    };
    let role = || {
        let (role_name, account_id) = ("writer".into(), "123456789012".into());
        s3(S3Destination { role_name, account_id, ..Default::default() })
    };
    let request = LogStreamsCreateRequest { paused: true, ..stream_of_acme(key()) };
    let id = create(&server, request).await;
    let external_id = async || match get(&server, &id).await.destination.unwrap().kind {
        Some(Kind::S3(s3)) => s3.external_id,
        other => panic!("{other:?}"),
    };
    let update = async |destination| {
        let destination = Some(destination);
        let log_stream_id = id.clone();
        let update = LogStreamsUpdateRequest { log_stream_id, destination, ..Default::default() };
        server.log_streams().await.update(update).await.unwrap();
    };
    assert_eq!(external_id().await, "");
    update(role()).await;
    let made = external_id().await;
    assert_eq!(made.len(), 32, "{made}");
    update(key()).await;
    update(role()).await;
    assert_eq!(external_id().await, made);
}

async fn certificates_belong_to_a_kind(engine: Engine) {
    let (server, receiver) = (server(engine).await, datadog_receiver().await);
    let id = create(&server, stream_of_acme(to_datadog(&receiver))).await;
    let destination =
        LogStreamDestination { kind: None, ca_certificates_pem: receiver.ca_pem().to_owned() };
    let update = LogStreamsUpdateRequest {
        log_stream_id: id.clone(),
        destination: Some(destination),
        ..Default::default()
    };
    let refused = server.log_streams().await.update(update).await.unwrap_err();
    assert!(Refusal::of(&refused).names("destination.kind", "REQUIRED"));
    let rest = Rest::new(&server);
    let body = serde_json::json!({"ca_certificates_pem": receiver.ca_pem()});
    let answer = rest.put(&format!("/v1/log_streams/{id}"), body).await;
    assert_eq!(answer.status, 422, "{answer:?}");
    assert_eq!(answer.errors()[0].0, "config");
}

async fn the_system_log_can_be_read_and_not_written(engine: Engine) {
    use audit_logs::proto::v1::{ListEventsRequest, OrganizationsDeleteRequest};
    let (server, receiver) = (server(engine).await, https_receiver().await);
    create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let organizations = audit_logs::proto::v1::OrganizationsListRequest {
        search: "System log".into(),
        ..Default::default()
    };
    let listed = server.organizations().await.list(organizations).await.unwrap().into_inner();
    let system = listed.organizations.into_iter().find(|o| o.id.starts_with("system_")).unwrap();
    assert_eq!(system.name, "System log");
    let mut client = server.client().await;
    let request = ListEventsRequest { organization_id: system.id.clone(), ..Default::default() };
    let events = client.list_events(request).await.unwrap().into_inner().events;
    let created = events[0].event.as_ref().unwrap();
    assert_eq!(created.action, "log_stream.created");
    assert!(created.actor.as_ref().unwrap().id.starts_with("api_key_"));
    let request = crate::support::create_event(&system.id, "doc.read");
    let refused = client.create_event(request).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "ORGANIZATION_RESERVED");
    // Nobody makes one beforehand either.
    let request = audit_logs::proto::v1::OrganizationsCreateRequest {
        name: "mine".into(),
        organization_id: "system_environment_01JQ4X7Z6E5M2K9T8V3B1N0CDA".into(),
        ..Default::default()
    };
    let refused = server.organizations().await.create(request).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "ORGANIZATION_RESERVED");
    let request = OrganizationsDeleteRequest { organization_id: system.id };
    let refused = server.organizations().await.delete(request).await.unwrap_err();
    assert_eq!(Refusal::of(&refused).reason, "ORGANIZATION_RESERVED");
}

async fn the_configuration_shows_the_oldest_stream(engine: Engine) {
    use audit_logs::proto::v1::{GetAuditLogConfigurationRequest, LogStreamState};
    let (server, receiver) = (server(engine).await, datadog_receiver().await);
    let shown = async || {
        let request = GetAuditLogConfigurationRequest { organization_id: "acme".into() };
        let answer = server.organizations().await.get_audit_log_configuration(request).await;
        answer.unwrap().into_inner().configuration.unwrap().log_stream
    };
    assert!(shown().await.is_none());
    let id = create(&server, stream_of_acme(to_datadog(&receiver))).await;
    create(&server, stream_of_acme(to_datadog(&receiver))).await;
    let stream = shown().await.unwrap();
    assert_eq!((&stream.id, &*stream.r#type), (&id, "Datadog"));
    assert!(stream.state() == LogStreamState::Active && stream.last_synced_at.is_none());
    record(&mut server.client().await, "acme", 1).await;
    until_next(&server, &id, 1).await;
    assert!(shown().await.unwrap().last_synced_at.is_some());
}
