//! Receipts, fresh ones and those of events that were there already.

use std::collections::HashSet;

use audit_logs::proto::v1::{
    BatchCreateEventsRequest, BatchCreateEventsResult, CreateEventRequest, CreateEventResponse,
    batch_create_events_result::Result::Created,
};
use futures::future::join_all;
use prost::Message;

use super::{by_sequence, check_receipt, checkpoint, create_batch, grow, key_of, log};
use crate::support::{Engine, TestServer, create_event, on_every_engine, schema_for, with_text};

on_every_engine!(
    a_receipt_proves_the_event_at_once,
    batches_give_a_receipt_for_each_event_that_wants_one,
    a_large_batch_gives_as_many_receipts_as_a_client_can_read,
    a_repetition_gets_the_receipt_of_the_first_copy,
    a_repeated_batch_gets_all_receipts_again,
    concurrent_events_get_receipts_that_agree,
    what_was_erased_has_a_receipt_without_contents,
);

fn with_receipt(organization: &str) -> CreateEventRequest {
    CreateEventRequest { receipt: true, ..create_event(organization, "doc.read") }
}

fn keyed(organization: &str, key: &str) -> CreateEventRequest {
    CreateEventRequest { idempotency_key: key.to_owned(), ..with_receipt(organization) }
}

async fn server(engine: Engine) -> TestServer {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    server
}

/// The size of the tree that the receipt of an answer leads to.
async fn checked(server: &TestServer, organization: &str, answer: &CreateEventResponse) -> u64 {
    let receipt = answer.receipt.as_ref().expect("a receipt");
    assert_eq!(receipt.event_id, answer.event_id);
    assert_eq!((receipt.sequence, &receipt.leaf_hash), (answer.sequence, &answer.leaf_hash));
    check_receipt(receipt, &key_of(server, organization).await).size
}

async fn a_receipt_proves_the_event_at_once(engine: Engine) {
    let server = server(engine).await;
    let mut client = server.client().await;
    for sequence in 0..5 {
        let answer = client.create_event(with_receipt("acme")).await.unwrap().into_inner();
        assert_eq!(answer.sequence, sequence);
        assert_eq!(checked(&server, "acme", &answer).await, sequence + 1);
        // The same as one that is asked for.
        let request = by_sequence("acme", sequence, None);
        let asked = log(&server).await.get_inclusion_proof(request).await.unwrap();
        assert_eq!(asked.into_inner().receipt, answer.receipt);
    }
    let without = client.create_event(create_event("acme", "doc.read")).await.unwrap();
    assert_eq!(without.into_inner().receipt, None);
}

async fn batches_give_a_receipt_for_each_event_that_wants_one(engine: Engine) {
    let server = server(engine).await;
    grow(&server, "acme", 250).await;
    for atomic in [true, false] {
        let mut requests = Vec::new();
        for number in 0..20 {
            let organization = if number % 3 == 0 { "beta" } else { "acme" };
            let receipt = number % 4 != 3;
            requests.push(CreateEventRequest { receipt, ..with_receipt(organization) });
        }
        let answers = create_batch(&server, requests.clone(), atomic).await;
        for (request, answer) in requests.iter().zip(&answers) {
            if request.receipt {
                let organization = &request.organization_id;
                let size = checked(&server, organization, answer).await;
                // Nothing else was written meanwhile.
                assert_eq!(size, checkpoint(&server, organization).await.tree_size);
            } else {
                assert_eq!(answer.receipt, None);
            }
        }
    }
}

/// The receipts of all events would be more than the 4 MiB that a client takes by default; it must be
/// able to read what became of them.
async fn a_large_batch_gives_as_many_receipts_as_a_client_can_read(engine: Engine) {
    const CLIENT_TAKES: usize = 4 * 1_024 * 1_024;
    const MOST_BYTES: usize = 2 * 1_024 * 1_024;
    let server = server(engine).await;
    let requests = vec![with_text(with_receipt("acme"), 3_300); 1_000];
    let answers = create_batch(&server, requests, false).await;
    assert!(answers.iter().map(|answer| answer.sequence).eq(0..1_000));
    let receipts: Vec<_> = answers.iter().map_while(|answer| answer.receipt.as_ref()).collect();
    let without = &answers[receipts.len()..];
    assert!(without.iter().all(|answer| answer.receipt.is_none()));
    let bytes: usize = receipts.iter().map(|receipt| receipt.encoded_len()).sum();
    // One more would have been too much, and all together more than the client takes.
    let (next, all) = (bytes / receipts.len(), bytes * 1_000 / receipts.len());
    assert!(bytes <= MOST_BYTES && bytes + 2 * next > MOST_BYTES, "{bytes}");
    assert!(all > CLIENT_TAKES, "{all}");
    for answer in [&answers[0], &answers[receipts.len() - 1]] {
        assert_eq!(checked(&server, "acme", answer).await, 1_000);
    }
    // The others can be asked for.
    let request = by_sequence("acme", without[0].sequence, None);
    let asked = log(&server).await.get_inclusion_proof(request).await.unwrap().into_inner();
    let answer = CreateEventResponse { receipt: asked.receipt, ..without[0].clone() };
    assert_eq!(checked(&server, "acme", &answer).await, 1_000);
}

async fn a_repetition_gets_the_receipt_of_the_first_copy(engine: Engine) {
    let server = server(engine).await;
    let mut client = server.client().await;
    let first = client.create_event(keyed("acme", "k")).await.unwrap().into_inner();
    assert_eq!(checked(&server, "acme", &first).await, 1);
    grow(&server, "acme", 300).await;
    let again = client.create_event(keyed("acme", "k")).await.unwrap().into_inner();
    assert!(again.duplicate);
    assert_eq!((&again.event_id, again.sequence), (&first.event_id, 0));
    assert_eq!(checked(&server, "acme", &again).await, 301);
    // Within one batch, and beside events that are new.
    let batch = || vec![keyed("acme", "l"), keyed("acme", "l"), keyed("acme", "k")];
    for (atomic, duplicates) in [(true, [false, true, true]), (false, [true; 3])] {
        let answers = create_batch(&server, batch(), atomic).await;
        assert_eq!(answers.iter().map(|answer| answer.duplicate).collect::<Vec<_>>(), duplicates);
        for answer in &answers {
            assert_eq!(checked(&server, "acme", answer).await, 302);
        }
        assert_eq!(answers[0].event_id, answers[1].event_id);
        assert_eq!(answers[2].event_id, first.event_id);
    }
}

async fn a_repeated_batch_gets_all_receipts_again(engine: Engine) {
    let server = server(engine).await;
    let batch: Vec<_> = (0..600)
        .map(|number| keyed(if number % 3 == 0 { "beta" } else { "acme" }, &number.to_string()))
        .collect();
    let first = create_batch(&server, batch.clone(), false).await;
    grow(&server, "acme", 10).await;
    let again = create_batch(&server, batch.clone(), false).await;
    let [acme, beta] = [key_of(&server, "acme").await, key_of(&server, "beta").await];
    for (first, again) in first.iter().zip(&again) {
        assert!(again.duplicate && !first.duplicate);
        assert_eq!((&again.event_id, again.sequence), (&first.event_id, first.sequence));
    }
    for ((number, answer), request) in again.iter().enumerate().zip(&batch) {
        let (key, size) = if number % 3 == 0 { (&beta, 200) } else { (&acme, 410) };
        assert_eq!(check_receipt(answer.receipt.as_ref().unwrap(), key).size, size, "{request:?}");
    }
    // One log whose rows do not fit its tree does not take the others' receipts away.
    server.execute("DELETE FROM log_tiles WHERE organization_id = 'acme'").await;
    let requests = vec![keyed("beta", "0"), keyed("acme", "1"), keyed("beta", "3")];
    let batch = BatchCreateEventsRequest { requests, atomic: false };
    let results = server.client().await.batch_create_events(batch).await.unwrap().into_inner();
    let created = |result: &BatchCreateEventsResult| matches!(result.result, Some(Created(_)));
    let created: Vec<_> = results.results.iter().map(created).collect();
    assert_eq!(created, [true, false, true]);
}

async fn concurrent_events_get_receipts_that_agree(engine: Engine) {
    let server = server(engine).await;
    let client = server.client().await;
    let calls = (0..200).map(|_| {
        let mut client = client.clone();
        async move { client.create_event(with_receipt("acme")).await.unwrap().into_inner() }
    });
    let answers = join_all(calls).await;
    let key = key_of(&server, "acme").await;
    let mut sequences: Vec<_> = answers.iter().map(|answer| answer.sequence).collect();
    sequences.sort_unstable();
    assert!(sequences.into_iter().eq(0..200));
    let checkpoints = answers.iter().map(|answer| {
        let checkpoint = check_receipt(answer.receipt.as_ref().unwrap(), &key);
        (checkpoint.size, checkpoint.root)
    });
    let roots: HashSet<_> = checkpoints.collect();
    let sizes: HashSet<_> = roots.iter().map(|(size, _)| *size).collect();
    assert_eq!(roots.len(), sizes.len(), "one root for each size");
    assert!(sizes.contains(&200));
}

/// Retention erases what an event held, and never its place in the tree.
async fn what_was_erased_has_a_receipt_without_contents(engine: Engine) {
    let server = server(engine).await;
    let answers = grow(&server, "acme", 300).await;
    let empty = if engine == Engine::Sqlite { "x''" } else { "''::bytea" };
    let erase = format!("UPDATE events SET id = '', payload = {empty}, salt = {empty}");
    server.execute(&format!("{erase} WHERE sequence = 290")).await;
    server.execute("DELETE FROM events WHERE sequence < 256").await;
    let mut log = log(&server).await;
    for sequence in [3, 290] {
        for size in [None, Some(291)] {
            let request = by_sequence("acme", sequence, size);
            let answer = log.get_inclusion_proof(request).await.unwrap().into_inner();
            let receipt = answer.receipt.unwrap();
            let leaf = &answers[usize::try_from(sequence).unwrap()].leaf_hash;
            assert_eq!((&receipt.leaf_hash, receipt.sequence), (leaf, sequence));
            assert!(receipt.event_id.is_empty() && receipt.salt.is_empty());
            assert!(receipt.canonical_event.is_empty());
        }
    }
    // A smaller tree, whose edge is in the tile that is complete by now.
    let request = by_sequence("acme", 3, Some(200));
    assert_eq!(log.get_inclusion_proof(request).await.unwrap().into_inner().tree_size, 200);
}
