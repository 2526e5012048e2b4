//! JSON Lines exports of a server that is gone.

use audit_logs::{
    export::manifest::{signed_text, with_signature},
    merkle::{Checkpoint, Frontier, SigningKey, leaf_hash, note},
    proto::v1::BatchCreateEventsRequest,
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    program::process::{Outcome, Program},
    support::{Engine, create_event, on_every_engine, schema_for, server::ROOT_KEY},
};

on_every_engine!(exports_are_proved);

const EVENTS: usize = 600;

/// A place with the key and exports of a server that is gone: all events of acme, every fifth of them,
/// none, all of hooli, and CSV.
async fn exports(engine: Engine) -> Program {
    let program = Program::on(engine).await;
    let server = program.serve().await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_action_schema(schema_for("doc.write")).await.unwrap();
    let action = |number: usize| if number % 5 == 3 { "doc.write" } else { "doc.read" };
    for organization in ["acme", "hooli"] {
        let requests =
            (0..EVENTS).map(|number| create_event(organization, action(number))).collect();
        let batch = BatchCreateEventsRequest { requests, atomic: true };
        client.batch_create_events(batch).await.unwrap();
    }
    for (organization, format, file, further) in [
        ("acme", "jsonl", "all", &[][..]),
        ("acme", "jsonl", "packed.gz", &["--gzip"]),
        ("acme", "jsonl", "some", &["--actions", "doc.write"]),
        ("acme", "jsonl", "none", &["--actor-ids", "nobody"]),
        ("hooli", "jsonl", "other", &[]),
        ("acme", "csv", "csv", &[]),
    ] {
        let range = ["export", "--from", "2026-01-01", "--to", "2026-02-01"];
        let common =
            ["--server", &server.url, "--api-key", ROOT_KEY, "--organization", organization];
        let output = ["--format", format, "--output", file];
        let arguments = [&range[..], &common, &output, further].concat();
        program.run(&arguments).await.expect_success();
    }
    server.stop().await;
    program
}

async fn verify(program: &Program, options: &[&str]) -> Outcome {
    program.run(&[&["verify", "export"], options].concat()).await
}

fn read(program: &Program, name: &str) -> String {
    std::fs::read_to_string(program.path(name)).unwrap()
}

fn manifest(program: &Program, name: &str) -> Value {
    serde_json::from_str(&read(program, &format!("{name}.manifest.json"))).unwrap()
}

fn log_key(program: &Program) -> SigningKey {
    SigningKey::parse(&read(program, "data/signing-key.pem")).unwrap()
}

/// A manifest as if the log had written it so.
fn write_signed(program: &Program, name: &str, manifest: Value) {
    let origin = format!("audit-logs/{}", manifest["organization_id"].as_str().unwrap());
    let text = signed_text(&origin, &manifest).unwrap();
    let note = note::sign(&text, &origin, &log_key(program)).unwrap();
    let signed = with_signature(manifest, note).to_string();
    program.write(&format!("{name}.manifest.json"), signed);
}

async fn exports_are_proved(engine: Engine) {
    let program = exports(engine).await;
    for (file, extent) in [
        (
            "all",
            "600 events, complete from sequence 0 to 599: nothing between is left out; that is the whole log",
        ),
        ("some", "120 events between 3 and 598; 476 others are left out"),
        ("none", "no events"),
    ] {
        let said = verify(&program, &[file]).await.expect_success();
        assert!(said.starts_with(&format!("verified: {file} has {extent}")), "{said}");
        assert!(
            said.contains("acme, in the tree of 600 events signed by audit-logs/acme+"),
            "{said}"
        );
    }
    let said = verify(&program, &["packed.gz"]).await.expect_success();
    assert!(said.contains("600 events, complete from sequence 0 to 599"), "{said}");
    let packed = std::fs::read(program.path("packed.gz")).unwrap();
    assert!(packed.starts_with(&[0x1f, 0x8b]) && packed.len() < read(&program, "all").len() / 4);
    let told = manifest(&program, "packed.gz");
    assert_eq!((&told["compression"], &told["bytes"]), (&json!("gzip"), &json!(packed.len())));
    // Cut off, the file is no gzip file any more; with another byte the checksum is wrong.
    let mut altered = packed.clone();
    *altered.last_mut().unwrap() ^= 1;
    for damaged in [&packed[..packed.len() - 9], &altered] {
        program.write("packed.gz", damaged);
        let outcome = verify(&program, &["packed.gz"]).await;
        assert!(outcome.stdout.contains("TAMPERED: packed.gz of acme"), "{outcome:?}");
    }
    assert!(!program.path("csv.manifest.json").exists());
    let told = verify(&program, &["some", "--json"]).await.expect_success();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["left_out"], &told["complete"]), (&json!(476), &json!(false)));
    assert_eq!((&told["before_first"], &told["after_last"]), (&json!(3), &json!(1)));
    assert_eq!(told["filter"]["actions"], json!(["doc.write"]));
    assert_eq!(told["range_end"], "2026-02-01T00:00:00.000000Z");

    let first: Value = serde_json::from_str(read(&program, "all").lines().next().unwrap()).unwrap();
    assert!(first.get("skipped").is_none() && first["event"]["organization_id"] == "acme");
    let manifest = manifest(&program, "some");
    assert_eq!((&manifest["rows"], &manifest["first_sequence"]), (&json!(120), &json!(3)));
    assert_eq!(manifest["filter"]["actions"], json!(["doc.write"]));
    assert_eq!(manifest["format"], "json_lines");
}

/// Hash and count of a file that was changed, as if it had always been so.
fn adjust(program: &Program, name: &str) {
    use sha2::Digest;
    let text = read(program, name);
    let mut manifest = manifest(program, name);
    manifest["sha256"] = json!(hex::encode(sha2::Sha256::digest(&text)));
    manifest["bytes"] = json!(text.len());
    manifest["rows"] = json!(text.lines().count());
    let sequence = |line: Option<&str>| {
        let line: Value = serde_json::from_str(line.unwrap()).unwrap();
        line["sequence"].clone()
    };
    manifest["first_sequence"] = sequence(text.lines().next());
    manifest["last_sequence"] = sequence(text.lines().last());
    write_signed(program, name, manifest);
}

/// A line whose event was changed, with its hash.
fn forged(line: &str) -> String {
    let read: Value = serde_json::from_str(line).unwrap();
    let (_, rest) = line.split_once("\"event\":").unwrap();
    let (event, _) = rest.split_once(",\"salt\"").unwrap();
    let altered = event.replace("\"Plan\"", "\"Plot\"");
    assert_ne!(altered, event);
    let salt = STANDARD.decode(read["salt"].as_str().unwrap()).unwrap();
    let leaf = leaf_hash(&salt.try_into().unwrap(), altered.as_bytes());
    line.replace(event, &altered)
        .replace(read["leaf_hash"].as_str().unwrap(), &STANDARD.encode(leaf))
}

#[tokio::test]
async fn an_export_that_was_altered_is_found() {
    let program = exports(Engine::Sqlite).await;
    let text = read(&program, "some");
    let kept = read(&program, "some.manifest.json");
    let lines: Vec<&str> = text.lines().collect();
    let joined = |lines: &[&str]| lines.join("\n") + "\n";
    let with = |place: usize, line: String| {
        let mut lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
        lines[place] = line;
        lines.join("\n") + "\n"
    };
    let swapped = [&lines[..4], &[lines[5], lines[4]], &lines[6..]].concat();
    let dropped = [&lines[..7], &lines[8..]].concat();
    let doubled = [&lines[..8], &[lines[7]], &lines[8..]].concat();
    let skipped = |line: &str| {
        let read: Value = serde_json::from_str(line).unwrap();
        let hash = read["skipped"][0].as_str().unwrap();
        line.replace(hash, &STANDARD.encode([7; 32]))
    };
    let shorter = |line: &str| line.split(",\"skipped\"").next().unwrap().to_owned() + "}";
    for (changed, named) in [
        (with(9, lines[9].replace("Plan", "Plot")), "line 10: salt and event do not hash"),
        (with(9, forged(lines[9])), "do not fold"),
        (with(9, lines[9].replace("\"event\":{", "\"event\":{ ")), "line 10: salt and event"),
        (with(9, skipped(lines[9])), "do not fold"),
        (with(9, shorter(lines[9])), "line 10: 0 hashes stand for the events 44 to 47"),
        (with(9, lines[9].replace("\"sequence\":48", "\"sequence\":49")), "line 10"),
        (with(9, lines[9].replace("\"salt\"", "\"x\":1,\"salt\"")), "line 10: it cannot be read"),
        (joined(&swapped), "line 5"),
        (joined(&dropped), "line 8"),
        (joined(&doubled), "line 9: sequence 38 is not in order"),
        (text[..text.len() - 40].to_owned(), "line 120: it cannot be read"),
        (joined(&lines[..119]), "4 hashes stand for"),
    ] {
        program.write("some", &changed);
        // Without its last line, or with the manifest as it was, too.
        let outcome = verify(&program, &["some"]).await;
        assert_eq!(outcome.code, Some(1), "{named}: {outcome:?}");
        if !changed.ends_with("}\n") {
            continue;
        }
        adjust(&program, "some");
        let outcome = verify(&program, &["some"]).await;
        assert_eq!(outcome.code, Some(1), "{named}: {outcome:?}");
        assert!(outcome.stdout.contains("TAMPERED: some of acme"), "{named}: {outcome:?}");
        if !named.starts_with('4') {
            assert!(outcome.stdout.contains(named), "{named}: {outcome:?}");
        }
        program.write("some.manifest.json", &kept);
    }
}

#[tokio::test]
async fn a_manifest_that_was_altered_is_found() {
    let program = exports(Engine::Sqlite).await;
    let kept = manifest(&program, "some");
    let changes = [
        ("rows", json!(121), "rows"),
        ("bytes", json!(1), "bytes"),
        ("sha256", json!("00"), "SHA-256"),
        ("first_sequence", json!(0), "first sequence"),
        ("last_sequence", Value::Null, "last sequence"),
        ("tree_size", json!(599), "tree of 599 events"),
        ("range_end", json!("2026-01-01T00:00:00Z"), "occurred_at"),
        (
            "filter",
            json!({"actions": ["doc.read"], "actor_ids": [], "actor_names": [],
            "target_types": [], "target_ids": []}),
            "action",
        ),
        ("skipped", json!([]), "0 hashes"),
        ("organization_id", json!("hooli"), "log"),
    ];
    for (member, value, named) in changes {
        let mut altered = kept.clone();
        altered[member] = value;
        program.write("some.manifest.json", altered.to_string());
        let outcome = verify(&program, &["some"]).await;
        assert_eq!(outcome.code, Some(1), "{member}: {outcome:?}");
        assert!(outcome.stdout.contains("the manifest was changed"), "{member}: {outcome:?}");
        // Even if the log had signed it.
        write_signed(&program, "some", altered);
        let outcome = verify(&program, &["some"]).await;
        assert_eq!(outcome.code, Some(1), "{member}: {outcome:?}");
        assert!(outcome.stdout.contains(named), "{member}: {outcome:?}");
    }
    // A member that means nothing to this program is signed as well.
    let mut altered = kept.clone();
    altered["note"] = json!("nothing to see");
    program.write("some.manifest.json", altered.to_string());
    let outcome = verify(&program, &["some"]).await;
    assert!(outcome.stdout.contains("the manifest was changed"), "{outcome:?}");
    altered.as_object_mut().unwrap().remove("signature");
    program.write("some.manifest.json", altered.to_string());
    let outcome = verify(&program, &["some"]).await;
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
    assert!(outcome.stderr.contains("the manifest is not signed"), "{outcome:?}");
    let outcome = verify(&program, &["all", "--manifest", "other.manifest.json"]).await;
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains("of the organization acme"), "{outcome:?}");
}

/// A checkpoint that somebody else signed, of a tree that fits.
#[tokio::test]
async fn a_strangers_checkpoint_is_not_believed() {
    let program = exports(Engine::Sqlite).await;
    let stranger = SigningKey::from_seed([7; 32]);
    let mut altered = manifest(&program, "all");
    let note = altered["checkpoint"].as_str().unwrap();
    let text = note.split("\n\n").next().unwrap().to_owned() + "\n";
    let checkpoint = Checkpoint::parse(&text).unwrap();
    program.write("theirs", note);
    altered["checkpoint"] = json!(checkpoint.sign(&stranger).unwrap());
    write_signed(&program, "all", altered);
    let outcome = verify(&program, &["all"]).await;
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains("not signed by a trusted key"), "{outcome:?}");
    // One from elsewhere does as well.
    verify(&program, &["all", "--checkpoint", "theirs"]).await.expect_success();
    let forged = Checkpoint { root: [7; 32], ..checkpoint.clone() };
    let key = log_key(&program);
    program.write("forged", forged.sign(&key).unwrap());
    let outcome = verify(&program, &["all", "--checkpoint", "forged"]).await;
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    let smaller = Checkpoint { size: 599, ..checkpoint };
    program.write("smaller", smaller.sign(&key).unwrap());
    let outcome = verify(&program, &["all", "--checkpoint", "smaller"]).await;
    assert_eq!(outcome.code, Some(2), "{outcome:?}");
}

/// Rows at both ends folded into hashes, or all of them, with everything else made to fit.
#[tokio::test]
async fn what_was_cut_off_is_not_complete() {
    let program = exports(Engine::Sqlite).await;
    for (options, code, result, complete) in [
        (&["all"][..], 0, "verified", true),
        (&["all", "--sequences", "0..599"], 0, "verified", true),
        (&["all", "--sequences", "17..42"], 0, "verified", true),
        (&["all", "--sequences", "0..600"], 1, "incomplete", false),
        (&["some"], 0, "verified", false),
        // What is left out elsewhere does not matter.
        (&["some", "--sequences", "8..8"], 0, "verified", true),
        (&["some", "--sequences", "3..8"], 1, "incomplete", false),
        (&["none"], 0, "verified", false),
        (&["none", "--sequences", "0..0"], 1, "incomplete", false),
    ] {
        let outcome = verify(&program, &[options, &["--json"]].concat()).await;
        assert_eq!(outcome.code, Some(code), "{options:?}: {outcome:?}");
        let told: Value = serde_json::from_str(&outcome.stdout).unwrap();
        assert_eq!((&told["result"], &told["complete"]), (&json!(result), &json!(complete)));
    }
    let outcome = verify(&program, &["some", "--sequences", "3..8"]).await;
    assert!(outcome.stdout.starts_with("INCOMPLETE: some has 120 events"), "{outcome:?}");
    assert!(outcome.stdout.contains("actions [\"doc.write\"]"), "{outcome:?}");
    verify(&program, &["all", "--sequences", "4..3"]).await.expect_usage_error();

    // The last two of 600 leaves, which one subtree covers; the log's key is out of reach.
    let text = read(&program, "all");
    let lines: Vec<&str> = text.lines().collect();
    let leaf = |line: &str| -> [u8; 32] {
        let line: Value = serde_json::from_str(line).unwrap();
        STANDARD.decode(line["leaf_hash"].as_str().unwrap()).unwrap().try_into().unwrap()
    };
    let mut subtree = Frontier::default();
    subtree.push(leaf(lines[598]));
    subtree.push(leaf(lines[599]));
    program.write("all", lines[..598].join("\n") + "\n");
    let mut cut = manifest(&program, "all");
    let signature = cut["signature"].clone();
    cut["skipped"] = json!([STANDARD.encode(subtree.root())]);
    write_signed(&program, "all", cut);
    adjust(&program, "all");
    // Did the log say so itself, it would be no whole log.
    let told = verify(&program, &["all", "--json"]).await.expect_success();
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["complete"], &told["after_last"]), (&json!(false), &json!(2)));
    let forged = with_signature(manifest(&program, "all"), signature.as_str().unwrap().to_owned());
    program.write("all.manifest.json", forged.to_string());
    let outcome = verify(&program, &["all"]).await;
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains("the manifest was changed"), "{outcome:?}");
}

#[tokio::test]
async fn what_is_no_export_cannot_be_checked() {
    let program = exports(Engine::Sqlite).await;
    std::fs::copy(program.path("all.manifest.json"), program.path("csv.manifest.json")).unwrap();
    std::fs::rename(program.path("all.manifest.json"), program.path("manifest")).unwrap();
    program.write("none.manifest.json", "no JSON");
    for (options, named) in [
        (&["csv"][..], "--format jsonl"),
        (&["nowhere"], "nowhere"),
        (&["all"], "--manifest"),
        (&["none"], "no manifest"),
        (&["all", "--manifest", "nowhere"], "nowhere"),
        (&["some", "--checkpoint", "nowhere"], "nowhere"),
        (&["some", "--checkpoint", "some"], "no checkpoint"),
        (&["some", "--public-key", "nowhere"], "nowhere"),
    ] {
        let outcome = verify(&program, options).await;
        assert_eq!(outcome.code, Some(2), "{options:?}: {outcome:?}");
        assert!(outcome.stderr.contains(named), "{options:?}: {outcome:?}");
    }
    verify(&program, &["all", "--manifest", "manifest"]).await.expect_success();
}
