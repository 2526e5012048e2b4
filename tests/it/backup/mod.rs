//! Copies of a database that is written to, and services that go on from them.

mod copying;
mod load;
mod point_in_time;

use audit_logs::{
    client::AuditLogs,
    proto::v1::{
        EventRecord, ListEventsRequest, SortOrder, WatchEventsRequest, watch_events_request::Start,
        watch_events_response::Content,
    },
};

use self::load::{Acknowledged, ORGANIZATIONS};
use crate::{
    program::process::{Program, Server},
    support::{create_event, server::ROOT_KEY, until},
};

/// The signed checkpoint of a log, as an auditor keeps it.
async fn checkpoint(server: &Server, organization: &str) -> String {
    let url = format!("{}/tlog/{organization}/checkpoint", server.url);
    let answer = reqwest::Client::builder()
        .build()
        .unwrap()
        .get(url)
        .bearer_auth(ROOT_KEY)
        .send()
        .await
        .unwrap();
    answer.error_for_status().unwrap().text().await.unwrap()
}

/// How many events a checkpoint is of: its second line (C2SP tlog-checkpoint).
fn size_of(checkpoint: &str) -> u64 {
    checkpoint.lines().nth(1).unwrap().parse().unwrap()
}

/// All events of a log.
async fn everything(client: &mut AuditLogs, organization: &str) -> Vec<EventRecord> {
    let mut request = ListEventsRequest {
        organization_id: organization.to_owned(),
        limit: 100,
        order: SortOrder::Asc.into(),
        ..Default::default()
    };
    let mut events = Vec::new();
    loop {
        let page = client.list_events(request.clone()).await.unwrap().into_inner();
        events.extend(page.events);
        request.after = page.list_metadata.unwrap().after;
        if request.after.is_empty() {
            return events;
        }
    }
}

/// What must hold of a program over a restored database: `known` was acknowledged before the copy was made,
/// and `older` and `newer` are checkpoints of acme of before and after that.
async fn goes_on_from_there(program: &Program, known: &[Acknowledged], older: &str, newer: &str) {
    program.write("older", older);
    program.write("newer", newer);
    let said = program.run(&["verify", "database"]).await.expect_success();
    assert!(said.starts_with("verified: "), "{said}");
    program.run(&["verify", "database", "--since", "older"]).await.expect_success();
    // A log that was set back is told from one that grew.
    let outcome = program.run(&["verify", "database", "--since", "newer"]).await;
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains("is of a larger log than this, of "), "{outcome:?}");

    let server = program.serve().await;
    let mut client = server.client().await;
    for organization in ORGANIZATIONS {
        let events = everything(&mut client, organization).await;
        for (sequence, event) in (0..).zip(&events) {
            assert_eq!(event.sequence, sequence, "a gap in {organization}");
        }
        for acknowledged in known.iter().filter(|known| known.organization == organization) {
            let at = usize::try_from(acknowledged.sequence).unwrap();
            let event = events.get(at).unwrap_or_else(|| panic!("{acknowledged:?} is lost"));
            assert_eq!(event.id, acknowledged.event_id);
        }
        if organization == "acme" {
            let size = u64::try_from(events.len()).unwrap();
            assert!(size >= size_of(older) && size < size_of(newer), "{size} events");
            writes_follow(&server, &mut client, size).await;
        }
    }
    server.stop().await.expect_success();
    program.run(&["verify", "database", "--since", "older"]).await.expect_success();
}

/// A new event of acme takes the next place, and a watcher is told of it.
async fn writes_follow(server: &Server, client: &mut AuditLogs, size: u64) {
    let request = WatchEventsRequest {
        organization_id: "acme".to_owned(),
        start: Some(Start::FromSequence(size)),
        ..Default::default()
    };
    let mut watched = server.client().await.watch_events(request).await.unwrap().into_inner();
    let created = client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let created = created.into_inner();
    assert_eq!(created.sequence, size);
    let seen = until("the watcher is told", async || match watched.message().await.unwrap() {
        Some(frame) => match frame.content.unwrap() {
            Content::Events(events) => Some(events.events),
            Content::Heartbeat(_) => None,
        },
        None => panic!("the stream ended"),
    });
    assert_eq!(seen.await[0].id, created.event_id);
}
