//! What goes, what stays, and what can still be proven of what is gone.

use audit_logs::{
    merkle::proof::{verify_consistency, verify_inclusion},
    proto::v1::{
        CreateEventRequest, CreateExportRequest, ExportFormat, ExportState,
        GetConsistencyProofRequest, GetEventRequest, GetExportRequest, GetInclusionProofRequest,
        ListEventsRequest, Receipt, get_inclusion_proof_request::Event,
    },
};
use futures::StreamExt;
use serde_json::Value;
use sqlx::{Connection, Executor};
use tonic::Code;

use super::{DAY, Trail};
use crate::{
    program::{process::Program, verify::receipt::as_json},
    support::{Engine, Refusal, at, create_event, on_every_engine, schema_for, until},
    transparency::{by_sequence, check_receipt, checkpoint, create_batch, grow, hash, key_of, log},
};

on_every_engine!(
    what_is_past_its_period_goes,
    tombstones_go_when_their_tile_is_complete,
    reads_are_as_if_the_event_was_not_there,
    exports_leave_out_what_is_erased,
    what_is_erased_is_still_proven,
    a_program_verifies_what_is_left,
    everything_can_go,
    salts_are_gone_from_the_file,
    salts_are_gone_from_the_journal,
);

fn with_receipt(organization: &str) -> CreateEventRequest {
    CreateEventRequest { receipt: true, ..create_event(organization, "doc.read") }
}

/// A log of 270 events: 260 of 31 days ago and 10 of 29 days ago.
async fn aged(engine: Engine) -> (Trail, Vec<Receipt>) {
    let trail = Trail::new(engine).await;
    trail.server.client().await.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut receipts = Vec::new();
    for (count, days) in [(260, 2), (10, 29)] {
        let answers = create_batch(&trail.server, vec![with_receipt("acme"); count], true).await;
        receipts.extend(answers.into_iter().map(|answer| answer.receipt.unwrap()));
        trail.after_days(days);
    }
    trail.keep_for_days("acme", 30).await;
    (trail, receipts)
}

async fn what_is_past_its_period_goes(engine: Engine) {
    let (trail, receipts) = aged(engine).await;
    assert_eq!(trail.configuration("acme").await.erased_events, 0);
    let swept = trail.sweep().await;
    assert_eq!((swept.organizations, swept.events, swept.deleted_rows), (1, 260, 256));
    assert_eq!(trail.rows("acme").await, (10, 4));
    assert_eq!(trail.configuration("acme").await.erased_events, 260);
    assert_eq!(trail.verified("acme").await, (270, 260));
    let left: Vec<_> = trail.list("acme").await;
    let ids = |ids: &[Receipt]| ids.iter().map(|one| one.event_id.clone()).collect::<Vec<_>>();
    let left: Vec<_> = left.into_iter().map(|record| record.id).collect();
    assert_eq!(left, ids(&receipts[260..]));
    let left = "SELECT COUNT(*) FROM events WHERE LENGTH(payload) = 0 AND (LENGTH(salt) > 0 \
        OR LENGTH(leaf_hash) <> 32 OR LENGTH(action || actor_id || target_types || target_ids) > 0 \
        OR actor_name IS NOT NULL OR occurred_at <> 0 OR created_at <> 0 \
        OR id LIKE 'audit_event_%')";
    assert_eq!(trail.server.query_integers(left).await, [0]);
    // Nothing more, until the day comes. Then to the microsecond: what is exactly 30 days old stays.
    assert_eq!(trail.sweep().await.events, 0);
    trail.clock.advance_seconds(DAY);
    assert_eq!(trail.sweep().await.events, 0);
    trail.clock.advance_seconds(1);
    assert_eq!(trail.sweep().await.events, 10);
    assert_eq!(trail.rows("acme").await, (0, 14));
    assert_eq!(trail.verified("acme").await, (270, 270));
}

async fn tombstones_go_when_their_tile_is_complete(engine: Engine) {
    let (trail, _) = aged(engine).await;
    trail.sweep().await;
    let before = checkpoint(&trail.server, "acme").await;
    // The tile with the four tombstones becomes complete.
    grow(&trail.server, "acme", 300).await;
    assert_eq!(trail.verified("acme").await, (570, 260));
    let swept = trail.sweep().await;
    assert_eq!((swept.organizations, swept.events, swept.deleted_rows), (0, 0, 4));
    assert_eq!(trail.rows("acme").await, (310, 0));
    assert_eq!(trail.verified("acme").await, (570, 260));
    consistent(&trail, &before).await;
    assert_eq!(trail.sweep().await.deleted_rows, 0);
}

async fn reads_are_as_if_the_event_was_not_there(engine: Engine) {
    let (trail, receipts) = aged(engine).await;
    trail.sweep().await;
    let (mut client, mut proofs) = (trail.server.client().await, log(&trail.server).await);
    for (sequence, receipt) in (0..).zip(&receipts) {
        let id = || receipt.event_id.clone();
        let get = GetEventRequest { organization_id: "acme".into(), event_id: id() };
        let by_id = GetInclusionProofRequest {
            organization_id: "acme".into(),
            event: Some(Event::EventId(id())),
            tree_size: None,
        };
        if ![0, 255, 256, 259, 260, 269].contains(&sequence) {
            continue;
        }
        let (got, proven) = (client.get_event(get).await, proofs.get_inclusion_proof(by_id).await);
        if sequence >= 260 {
            assert_eq!(got.unwrap().into_inner().event.unwrap().sequence, sequence);
            proven.unwrap();
            continue;
        }
        for refused in [got.unwrap_err(), proven.unwrap_err()] {
            let refusal = Refusal::of(&refused);
            assert_eq!((refusal.code, &*refusal.reason), (Code::NotFound, "EVENT_NOT_FOUND"));
        }
    }
    // What stands in a tombstone is the id of nothing.
    let get =
        GetEventRequest { organization_id: "acme".into(), event_id: "erased acme 257".into() };
    assert_eq!(client.get_event(get).await.unwrap_err().code(), Code::NotFound);
    let all_time = ListEventsRequest {
        organization_id: "acme".into(),
        limit: 100,
        order: 1,
        range_start: Some(at("1970-01-01T00:00:00Z")),
        ..ListEventsRequest::default()
    };
    let listed = client.list_events(all_time).await.unwrap().into_inner().events;
    assert_eq!(
        listed.iter().map(|event| event.sequence).collect::<Vec<_>>(),
        (260..270).collect::<Vec<u64>>()
    );
    // Bundles of entries are no longer there, tiles are.
    let get = async |path: &str| {
        let url = format!("{}/tlog/acme/tile/{path}", trail.server.url);
        let request = reqwest::Client::builder()
            .build()
            .unwrap()
            .get(url)
            .bearer_auth(crate::support::server::ROOT_KEY);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!([get("entries/000").await, get("entries/001.p/14").await], [404, 404]);
    assert_eq!([get("0/000").await, get("0/001.p/14").await, get("0/000.p/7").await], [200; 3]);
}

async fn exports_leave_out_what_is_erased(engine: Engine) {
    let (trail, _) = aged(engine).await;
    trail.sweep().await;
    let mut client = trail.server.client().await;
    for format in [ExportFormat::Csv, ExportFormat::JsonLines] {
        let request = CreateExportRequest {
            organization_id: "acme".into(),
            range_start: Some(at("1970-01-01T00:00:00Z")),
            range_end: Some(at("2030-01-01T00:00:00Z")),
            format: format.into(),
            ..CreateExportRequest::default()
        };
        let id = client.create_export(request).await.unwrap().into_inner().export.unwrap().id;
        let request = GetExportRequest { export_id: id, watch: None };
        let frames = client.get_export(request).await.unwrap().into_inner();
        let frames: Vec<_> = frames.collect().await;
        let last = frames.into_iter().next_back().unwrap().unwrap().export.unwrap();
        assert_eq!((last.state(), last.rows_written), (ExportState::Ready, 10), "{last:?}");
        if format == ExportFormat::JsonLines {
            let program = Program::on_nothing(Engine::Sqlite).await;
            for (name, url) in [("export.jsonl", &last.url), ("manifest.json", &last.manifest_url)]
            {
                program.write(name, reqwest::get(url).await.unwrap().bytes().await.unwrap());
            }
            program.write("key", key_of(&trail.server, "acme").await.to_string());
            let said = program.run(&[
                "verify",
                "export",
                "export.jsonl",
                "--manifest",
                "manifest.json",
                "--public-key",
                "key",
            ]);
            said.await.expect_success();
        }
    }
}

/// A checkpoint from before is that of a beginning of the present tree.
async fn consistent(trail: &Trail, before: &audit_logs::proto::v1::GetCheckpointResponse) {
    let request = GetConsistencyProofRequest {
        organization_id: "acme".into(),
        first_tree_size: before.tree_size,
        second_tree_size: None,
    };
    let proof = log(&trail.server).await.get_consistency_proof(request).await.unwrap().into_inner();
    let now = checkpoint(&trail.server, "acme").await;
    let hashes: Vec<_> = proof.hashes.iter().map(|bytes| hash(bytes)).collect();
    let (first, second) = (hash(&before.root_hash), hash(&now.root_hash));
    verify_consistency(before.tree_size, now.tree_size, &first, &second, &hashes).unwrap();
}

async fn what_is_erased_is_still_proven(engine: Engine) {
    let (trail, receipts) = aged(engine).await;
    let before = checkpoint(&trail.server, "acme").await;
    trail.sweep().await;
    assert_eq!(checkpoint(&trail.server, "acme").await.root_hash, before.root_hash);
    consistent(&trail, &before).await;
    grow(&trail.server, "acme", 3).await;
    consistent(&trail, &before).await;
    let key = key_of(&trail.server, "acme").await;
    let mut proofs = log(&trail.server).await;
    for sequence in [0, 100, 255, 256, 259] {
        let old = &receipts[usize::try_from(sequence).unwrap()];
        check_receipt(old, &key);
        for size in [None, Some(260), Some(sequence + 1)] {
            let request = by_sequence("acme", sequence, size);
            let proof = proofs.get_inclusion_proof(request).await.unwrap().into_inner();
            let hashes: Vec<_> = proof.hashes.iter().map(|bytes| hash(bytes)).collect();
            let (leaf, root) = (hash(&old.leaf_hash), hash(&proof.root_hash));
            verify_inclusion(&leaf, sequence, proof.tree_size, &hashes, &root).unwrap();
            let receipt = proof.receipt.unwrap();
            assert_eq!(receipt.leaf_hash, old.leaf_hash);
            assert!(receipt.event_id.is_empty() && receipt.salt.is_empty());
            assert!(receipt.canonical_event.is_empty());
        }
    }
}

async fn a_program_verifies_what_is_left(engine: Engine) {
    let (trail, receipts) = aged(engine).await;
    let program =
        Program::over(None).with("AUDIT_LOGS_DATABASE_URL", &trail.server.settings.database_url());
    let note = checkpoint(&trail.server, "acme").await.checkpoint;
    program.write("before.note", note);
    trail.sweep().await;
    let said = program.run(&["verify", "database", "--since", "before.note"]).await;
    let said = said.expect_success();
    assert!(said.starts_with("verified: 273 events (260 erased by retention), 1 tiles"), "{said}");
    let said = program.run(&["verify", "database", "--json"]).await.expect_success();
    let said: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!((&said["events"], &said["erased_events"]), (&270.into(), &260.into()));
    program.write("key", key_of(&trail.server, "acme").await.to_string());
    for sequence in [0, 258] {
        program.write("receipt.json", as_json(&receipts[sequence]).to_string());
        let verify = ["verify", "receipt", "receipt.json", "--public-key", "key"];
        program.run(&verify).await.expect_success();
    }
}

async fn everything_can_go(engine: Engine) {
    let trail = Trail::new(engine).await;
    grow(&trail.server, "acme", 1_000).await;
    grow(&trail.server, "acme", 1_048).await;
    grow(&trail.server, "beta", 3).await;
    grow(&trail.server, "gamma", 3).await;
    // One without a period of its own, and one that nobody can read any more.
    let request =
        audit_logs::proto::v1::OrganizationsDeleteRequest { organization_id: "gamma".into() };
    trail.server.organizations().await.delete(request).await.unwrap();
    trail.after_days(365);
    assert_eq!(trail.sweep().await.events, 0);
    trail.after_days(1);
    let swept = trail.sweep().await;
    assert_eq!((swept.organizations, swept.events, swept.deleted_rows), (3, 2_054, 2_048));
    assert_eq!(trail.rows("acme").await, (0, 0));
    assert_eq!([trail.rows("beta").await, trail.rows("gamma").await], [(0, 3); 2]);
    assert_eq!(trail.verified("acme").await, (2_048, 2_048));
    assert_eq!(trail.verified("gamma").await, (3, 3));
    assert!(trail.list("acme").await.is_empty());
    // The log goes on where it was.
    let answers = grow(&trail.server, "acme", 1).await;
    assert_eq!(answers[0].sequence, 2_048);
    assert_eq!(trail.verified("acme").await, (2_049, 2_048));
}

async fn salts_are_gone_from_the_file(engine: Engine) {
    if engine != Engine::Sqlite {
        return;
    }
    let (mut trail, receipts) = aged(engine).await;
    trail.sweep().await;
    trail.store.clone().close().await.unwrap();
    trail.server.stop().await;
    let file = std::fs::read(trail.server.settings.data_dir.join("test.db")).unwrap();
    let contains = |bytes: &[u8]| file.windows(bytes.len()).any(|window| window == bytes);
    assert!(contains(&receipts[265].salt) && contains(&receipts[265].canonical_event));
    for receipt in receipts[..260].iter().step_by(13) {
        assert!(!contains(&receipt.salt), "{}", receipt.sequence);
        assert!(!contains(&receipt.canonical_event), "{}", receipt.sequence);
    }
}

/// While the service runs: in the write-ahead log too, which is long because somebody read meanwhile.
async fn salts_are_gone_from_the_journal(engine: Engine) {
    if engine != Engine::Sqlite {
        assert!(Trail::new(engine).await.store.empty_journal().await.unwrap());
        return;
    }
    let (trail, receipts) = aged(engine).await;
    let url = trail.server.settings.database_url();
    let mut reader = sqlx::SqliteConnection::connect(&url).await.unwrap();
    for sql in ["BEGIN", "SELECT COUNT(*) FROM events"] {
        reader.execute(sql).await.unwrap();
    }
    trail.sweep().await;
    assert!(!trail.store.empty_journal().await.unwrap(), "somebody reads");
    reader.close().await.unwrap();
    until("it is empty", async || trail.store.empty_journal().await.unwrap().then_some(())).await;
    let mut found = Vec::new();
    for name in ["test.db", "test.db-wal"] {
        found.extend(std::fs::read(trail.server.settings.data_dir.join(name)).unwrap());
    }
    let contains = |bytes: &[u8]| found.windows(bytes.len()).any(|window| window == bytes);
    assert!(contains(&receipts[265].salt));
    for receipt in receipts[..260].iter().step_by(13) {
        assert!(!contains(&receipt.salt), "{}", receipt.sequence);
    }
}
