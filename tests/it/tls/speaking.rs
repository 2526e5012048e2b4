//! Everything that the port speaks, over TLS.

use reqwest::Version;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{Authority, Identity, Secured};
use crate::support::{create_event, schema_for, server::ROOT_KEY};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_port_speaks_everything() {
    let server = Secured::start(None, &[]).await;
    let mut client = server.client(None).await.unwrap().audit_logs();
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    for (builder, version) in [
        (server.http().http1_only(), Version::HTTP_11),
        // By ALPN.
        (server.http(), Version::HTTP_2),
    ] {
        let http = builder.build().unwrap();
        let list = format!("{}/v1/events?organization_id=acme", server.url);
        let answer = http.get(list).bearer_auth(ROOT_KEY).send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.version()), (200, version));
        // gRPC-Web: an empty message to a method that needs no key.
        let check = format!("{}/grpc.health.v1.Health/Check", server.url);
        let request = http.post(check).header("content-type", "application/grpc-web+proto");
        let answer = request.body(vec![0; 5]).send().await.unwrap();
        let body = answer.error_for_status().unwrap().bytes().await.unwrap();
        assert!(body.windows(13).any(|window| window == b"grpc-status:0"), "{body:?}");
    }
    for version in [reqwest::tls::Version::TLS_1_2, reqwest::tls::Version::TLS_1_3] {
        let only = server.http().tls_version_min(version).tls_version_max(version);
        let ready = format!("{}/readyz", server.url);
        let answer = only.build().unwrap().get(ready).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_reach_a_server_with_tls() {
    let clients = Authority::new();
    let server = Secured::start(Some(&clients), &[]).await;
    let me = clients.client();
    let mut client = server.client(Some(&me)).await.unwrap().audit_logs();
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let common = ["--organization", "acme", "--server", &server.url, "--api-key", ROOT_KEY];
    let trust =
        ["--ca-certificate", "ca.pem", "--client-certificate", "me.pem", "--client-key", "me.key"];
    let tail = [&["tail", "--since", "0", "--no-follow"][..], &common].concat();
    let printed = server.program.run(&[&tail[..], &trust].concat()).await.expect_success();
    assert!(printed.contains("doc.read"), "{printed}");
    // The link is https, and is followed with the same certificates.
    let range = ["--from", "2000-01-01", "--to", "2100-01-01"];
    let export = [&["export"][..], &common, &range].concat();
    server.program.run(&[&export[..], &trust].concat()).await.expect_success();
    assert!(
        std::fs::read_to_string(server.program.path("audit-logs.csv")).unwrap().lines().count()
            == 2
    );
    // Who shows no certificate is told so at the first call, not in the handshake (TLS 1.3).
    server.program.run(&[&tail[..], &trust[..2]].concat()).await.expect_refusal();
    let refused = server.program.run(&tail).await.expect_refusal();
    assert!(refused.contains("cannot connect"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_must_show_who_it_is_where_that_is_asked() {
    let (clients, others) = (Authority::new(), Authority::new());
    let server = Secured::start(Some(&clients), &[]).await;
    let check = async |identity: Option<Identity>| {
        let client = server.client(identity.as_ref()).await?;
        client.audit_logs().create_action_schema(schema_for("doc.read")).await?;
        anyhow::Ok(())
    };
    check(Some(clients.client())).await.unwrap();
    assert!(check(None).await.is_err(), "no certificate");
    assert!(check(Some(others.client())).await.is_err(), "of another authority");
    // Of the right authority, but for servers.
    assert!(check(Some(clients.server())).await.is_err(), "for another purpose");
    // Health is behind the handshake too.
    assert!(server.http().build().unwrap().get(&server.url).send().await.is_err());
    let identity = reqwest::Identity::from_pem(clients.client().both().as_bytes()).unwrap();
    let http = server.http().identity(identity).build().unwrap();
    let ready = http.get(format!("{}/readyz", server.url)).send().await.unwrap();
    assert_eq!(ready.status().as_u16(), 200);
    let channel = tonic::transport::Channel::from_shared(server.url.clone()).unwrap();
    let me = clients.client();
    let tls = tonic::transport::ClientTlsConfig::new()
        .ca_certificate(tonic::transport::Certificate::from_pem(&server.authority.pem))
        .identity(tonic::transport::Identity::from_pem(me.certificate, me.key));
    let channel = channel.tls_config(tls).unwrap().connect().await.unwrap();
    HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
}
