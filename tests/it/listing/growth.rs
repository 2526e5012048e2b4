//! A log grows while it is read.

use audit_logs::proto::v1::SortOrder;

use super::{Ask, Page, events_of_acme, page_of_events};
use crate::support::{Engine, TestServer, create_event, on_every_engine, schema_for};

on_every_engine!(
    pages_are_stable_while_events_are_appended,
    a_reader_beside_writers_misses_nothing,
);

async fn append(server: &TestServer, count: usize) {
    let mut client = server.client().await;
    for _ in 0..count {
        client.create_event(create_event("acme", "doc.read")).await.unwrap();
    }
}

async fn page(server: &TestServer, ask: Ask) -> Page<u64> {
    page_of_events(&server.client().await, events_of_acme(Ask { limit: 3, ..ask })).await
}

async fn pages_are_stable_while_events_are_appended(engine: Engine) {
    let server = TestServer::start(engine).await;
    server.client().await.create_action_schema(schema_for("doc.read")).await.unwrap();
    append(&server, 8).await;
    // Newest first: the next page follows where this one ended, whatever came before it.
    let first = page(&server, Ask::default()).await;
    assert_eq!(first.items, [7, 6, 5]);
    append(&server, 4).await;
    let second = page(&server, Ask { after: first.after.clone(), ..Ask::default() }).await;
    assert_eq!(second.items, [4, 3, 2]);
    append(&server, 1).await;
    let third = page(&server, Ask { after: second.after, ..Ask::default() }).await;
    assert_eq!((third.items, &*third.after), (vec![1, 0], ""));
    // On the way back there is more than there was.
    let again = page(&server, Ask { before: second.before, ..Ask::default() }).await;
    assert_eq!(again.items, first.items);
    assert_eq!((&*first.before, &again.after), ("", &first.after));
    let newer = page(&server, Ask { before: again.before, ..Ask::default() }).await;
    assert_eq!(newer.items, [10, 9, 8]);

    // Oldest first: what is appended is found at the end.
    let order = SortOrder::Asc.into();
    let mut all = Vec::new();
    let mut ask = Ask { order, ..Ask::default() };
    loop {
        let page = page(&server, ask).await;
        all.extend(page.items);
        if page.after.is_empty() {
            break;
        }
        if all.len() < 9 {
            append(&server, 1).await;
        }
        ask = Ask { order, after: page.after, ..Ask::default() };
    }
    assert_eq!(all, (0..15).collect::<Vec<_>>());
}

async fn a_reader_beside_writers_misses_nothing(engine: Engine) {
    const EACH: usize = 20;
    let server = TestServer::start(engine).await;
    let client = server.client().await;
    client.clone().create_action_schema(schema_for("doc.read")).await.unwrap();
    append(&server, 5).await;
    let writers: Vec<_> = (0..4)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move {
                for _ in 0..EACH {
                    client.create_event(create_event("acme", "doc.read")).await.unwrap();
                }
            })
        })
        .collect();
    let (mut seen, mut next) = (Vec::new(), 0);
    loop {
        // Before the look: what is acknowledged by then must be found.
        let done = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let mut request = events_of_acme(Ask { order: SortOrder::Asc.into(), ..Ask::default() });
        request.sequence_start = Some(next);
        request.limit = 7;
        let answer = client.clone().list_events(request).await.unwrap().into_inner();
        let items: Vec<_> = answer.events.iter().map(|record| record.sequence).collect();
        next += items.len() as u64;
        let empty = items.is_empty();
        seen.extend(items);
        if done && empty {
            break;
        }
    }
    assert_eq!(seen, (0..5 + 4 * EACH as u64).collect::<Vec<_>>());
}
