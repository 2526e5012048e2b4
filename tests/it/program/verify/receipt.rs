//! Receipts of a server that is gone.

use audit_logs::proto::v1::{
    BatchCreateEventsRequest, Receipt, batch_create_events_result::Result,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    program::process::Program,
    support::{Engine, create_event, schema_for},
};

/// A place that holds the key and no database, and receipts of five events of acme.
async fn receipts() -> (Program, Vec<Receipt>) {
    let program = Program::on(Engine::Sqlite).await;
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    let mut request = create_event("acme", "doc.read");
    request.receipt = true;
    let batch = BatchCreateEventsRequest { requests: vec![request.clone(); 4], atomic: true };
    let results = client.batch_create_events(batch).await.unwrap().into_inner().results;
    let of_batch = results.into_iter().map(|result| match result.result.unwrap() {
        Result::Created(created) => created.receipt.unwrap(),
        Result::Error(status) => panic!("{status:?}"),
    });
    let mut receipts: Vec<_> = of_batch.collect();
    let single = client.create_event(request).await.unwrap().into_inner();
    receipts.push(single.receipt.unwrap());
    server.stop().await;
    std::fs::remove_file(program.path("data/audit-logs.db")).unwrap();
    (program, receipts)
}

/// As grpcurl prints it.
pub fn as_json(receipt: &Receipt) -> Value {
    json!({
        "eventId": receipt.event_id,
        "sequence": receipt.sequence.to_string(),
        "leafHash": STANDARD.encode(&receipt.leaf_hash),
        "salt": STANDARD.encode(&receipt.salt),
        "canonicalEvent": STANDARD.encode(&receipt.canonical_event),
        "tlogProof": receipt.tlog_proof,
    })
}

/// With the names of the contract, and without values that are the default.
fn as_other_json(receipt: &Receipt) -> Value {
    let url_safe = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut value = json!({
        "event_id": receipt.event_id,
        "leaf_hash": url_safe.encode(&receipt.leaf_hash),
        "salt": url_safe.encode(&receipt.salt),
        "canonical_event": url_safe.encode(&receipt.canonical_event),
        "tlog_proof": receipt.tlog_proof,
    });
    if receipt.sequence > 0 {
        value["sequence"] = json!(receipt.sequence);
    }
    value
}

#[tokio::test]
async fn receipts_are_read_in_every_form() {
    let (program, receipts) = receipts().await;
    let [first, .., last] = &receipts[..] else { panic!() };
    let all: Vec<_> = receipts.iter().map(as_json).collect();
    let created = |receipt| json!({"created": {"eventId": "x", "receipt": receipt}});
    let results: Vec<_> = all.iter().map(created).collect();
    let lines: Vec<_> = all.iter().map(Value::to_string).collect();
    let pretty: Vec<_> =
        all.iter().map(|receipt| serde_json::to_string_pretty(receipt).unwrap()).collect();
    let table = [
        (as_json(first).to_string(), 1),
        (as_other_json(first).to_string(), 1),
        (as_other_json(last).to_string(), 1),
        (json!({"eventId": "x", "receipt": as_json(last)}).to_string(), 1),
        (json!({"results": results}).to_string(), 5),
        (Value::Array(all.clone()).to_string(), 5),
        (lines.join("\n"), 5),
        (pretty.join("\n"), 5),
    ];
    for (text, count) in table {
        program.write("receipts.json", &text);
        let outcome = program.run(&["verify", "receipt", "receipts.json"]).await;
        assert!(outcome.stderr.contains("signing-key.pem"), "{outcome:?}");
        let said = outcome.expect_success();
        assert_eq!(said.lines().count(), count, "{said}");
        assert!(said.lines().all(|line| line.starts_with("verified: audit_event_")), "{said}");
        assert!(said.contains("of acme, in the tree of"), "{said}");
    }
    program.write("receipts.json", Value::Array(all).to_string());
    let said = program.run(&["verify", "receipt", "receipts.json", "--json"]).await;
    let said: Vec<Value> =
        said.expect_success().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = said.iter().map(|told| told["sequence"].as_u64().unwrap());
    assert_eq!(told.collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!((&said[0]["tree_size"], &said[4]["tree_size"]), (&json!(4), &json!(5)));
    assert_eq!(said[0]["organization_id"], "acme");
    assert_eq!(said[0]["origin"], "audit-logs/acme");
}

/// The public key of the program, for the log of an organization.
fn public_key(program: &Program, organization: &str) -> String {
    let text = std::fs::read_to_string(program.path("data/signing-key.pem")).unwrap();
    let key = audit_logs::merkle::SigningKey::parse(&text).unwrap();
    let name = format!("audit-logs/{organization}");
    audit_logs::merkle::VerifierKey::new(name, key.public_key()).unwrap().to_string()
}

type Change<'a> = &'a dyn Fn(&mut Receipt);

#[tokio::test]
async fn a_receipt_that_was_altered_proves_nothing() {
    let (program, receipts) = receipts().await;
    let [receipt, other, ..] = &receipts[..] else { panic!() };
    let with = |change: &dyn Fn(&mut Receipt)| {
        let mut changed = receipt.clone();
        change(&mut changed);
        changed
    };
    let rehash = |receipt: &mut Receipt| {
        let salt = receipt.salt.as_slice().try_into().unwrap();
        receipt.leaf_hash = audit_logs::merkle::leaf_hash(&salt, &receipt.canonical_event).to_vec();
    };
    let altered = |text: &str, from: &str, to: &str| {
        assert!(text.contains(from), "{text}");
        text.replace(from, to)
    };
    let text = |receipt: &Receipt| String::from_utf8(receipt.canonical_event.clone()).unwrap();
    let cases: [(&str, Change<'_>); 10] = [
        ("hash", &|r| r.canonical_event = altered(&text(r), "user_1", "user_2").into()),
        ("root", &|r| {
            r.canonical_event = altered(&text(r), "user_1", "user_2").into();
            rehash(r);
        }),
        ("canonical", &|r| {
            r.canonical_event = altered(&text(r), "{\"action\"", "{ \"action\"").into();
            rehash(r);
        }),
        ("acme", &|r| {
            r.canonical_event =
                altered(&text(r), "\"organization_id\":\"acme\"", "\"organization_id\":\"hooli\"")
                    .into();
            rehash(r);
        }),
        ("hash", &|r| r.salt[0] ^= 1),
        ("hash", &|r| r.leaf_hash[31] ^= 1),
        ("audit_event_", &|r| r.event_id.clone_from(&other.event_id)),
        ("sequence 1", &|r| r.sequence = 1),
        ("the proof has", &|r| {
            r.tlog_proof.clone_from(&receipts[4].tlog_proof.replace("index 4", "index 0"));
        }),
        ("signature", &|r| r.tlog_proof = altered(&r.tlog_proof, "\n4\n", "\n5\n")),
    ];
    for (number, (named, change)) in cases.into_iter().enumerate() {
        program.write("receipt.json", as_json(&with(change)).to_string());
        let outcome = program.run(&["verify", "receipt", "receipt.json"]).await;
        assert_eq!(outcome.code, Some(1), "case {number}: {outcome:?}");
        assert!(outcome.stdout.starts_with("TAMPERED: audit_event_"), "case {number}: {outcome:?}");
        assert!(outcome.stdout.contains(named), "case {number}: {outcome:?}");
    }
    // One that is bad among good ones is enough.
    let both = [as_json(other), as_json(&with(&|r| r.sequence = 3))];
    program.write("receipt.json", json!(both).to_string());
    let outcome = program.run(&["verify", "receipt", "receipt.json", "--json"]).await;
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains("\"tampered\"") && outcome.stdout.contains("\"verified\""));
}

#[tokio::test]
async fn keys_are_given_or_the_operators_own() {
    let (program, receipts) = receipts().await;
    program.write("receipt.json", as_json(&receipts[2]).to_string());
    let (acme, hooli) = (public_key(&program, "acme"), public_key(&program, "hooli"));
    program.write("keys", format!("\n{hooli}\n{acme}\n"));
    let stranger = audit_logs::merkle::SigningKey::from_seed([7; 32]).public_key();
    let stranger = audit_logs::merkle::VerifierKey::new("audit-logs/acme", stranger).unwrap();
    let stranger = stranger.to_string();
    let file = ["verify", "receipt", "receipt.json"];
    std::fs::rename(program.path("data/signing-key.pem"), program.path("kept.pem")).unwrap();
    for (keys, code, named) in [
        (&["--public-key", &*acme][..], 0, "verified"),
        (&["--public-key", "keys"], 0, "verified"),
        (&["--public-key", &*hooli, "--public-key", &*acme], 0, "verified"),
        (&["--public-key", &*stranger], 1, "not signed by a trusted key"),
        (&["--public-key", &*hooli], 2, "audit-logs/acme"),
        (&["--public-key", "nowhere"], 2, "nowhere"),
        (&["--public-key", "receipt.json"], 2, "receipt.json"),
        (&[], 2, "auditlogs.v1.TransparencyLog/GetPublicKey"),
    ] {
        let outcome = program.run(&[&file[..], keys].concat()).await;
        assert_eq!(outcome.code, Some(code), "{keys:?}: {outcome:?}");
        let said = outcome.stdout + &outcome.stderr;
        assert!(said.contains(named), "{keys:?}: {said}");
    }
}

#[tokio::test]
async fn what_is_no_receipt_cannot_be_checked() {
    let program = Program::on(Engine::Sqlite).await;
    for (text, named) in [
        ("", "no receipt"),
        ("no JSON", "not JSON"),
        ("{}", "no receipt"),
        (r#"{"eventId": "x", "sequence": "0"}"#, "\"receipt\": true"),
        (r#"{"tlogProof": "x"}"#, "event_id"),
        (r#"{"tlogProof": "x", "eventId": "x", "leafHash": 7}"#, "leaf_hash"),
    ] {
        program.write("receipt.json", text);
        let outcome = program.run(&["verify", "receipt", "receipt.json"]).await;
        assert_eq!(outcome.code, Some(2), "{text}: {outcome:?}");
        assert!(outcome.stderr.contains(named), "{text}: {outcome:?}");
    }
    let outcome = program.run(&["verify", "receipt", "nowhere.json"]).await;
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("nowhere.json"), "{outcome:?}");
}
