//! Databases that were tampered with behind the service's back, and one that was not.

use audit_logs::merkle::{Hash, SigningKey, VerifierKey, node_hash};
use serde_json::Value;

use super::evidence::{EVENTS, Evidence, TABLES};
use crate::{
    program::process::Program,
    support::{Engine, on_every_engine},
};

on_every_engine!(
    what_was_not_tampered_with_is_verified,
    rows_that_were_changed_are_found,
    rows_that_went_or_came_or_moved_are_found,
    heads_that_were_tampered_with_are_found,
    tiles_that_were_tampered_with_are_found,
    checkpoints_that_were_tampered_with_are_found,
    a_log_that_was_rebuilt_contradicts_its_checkpoints,
    what_retention_erased_is_no_tampering,
    what_cannot_be_checked_is_said,
    a_log_without_a_tree_gets_one,
);

async fn what_was_not_tampered_with_is_verified(engine: Engine) {
    let evidence = Evidence::new(engine).await;
    let said = evidence.verify(&[]).await.expect_success();
    let sum = "verified: 861 events, 3 tiles and 2 checkpoints of 4 logs in ";
    assert!(said.starts_with(sum) && said.lines().count() == 1, "{said}");
    let said = evidence.verify(&["--json"]).await.expect_success();
    let said: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(said.len(), 5);
    assert_eq!(said[0]["organization_id"], "acme");
    assert!(said.iter().all(|told| told["result"] == "verified"));
    let said = evidence.verify(&["--organization", "hooli"]).await.expect_success();
    assert!(said.starts_with("verified: 256 events, 1 tiles"), "{said}");
    evidence.program.write("since", evidence.note(512, &evidence.key).await);
    let said = evidence.verify(&["--since", "since"]).await.expect_success();
    assert!(said.contains("3 checkpoints"), "{said}");
}

async fn rows_that_were_changed_are_found(engine: Engine) {
    let evidence = Evidence::new(engine).await;
    for sequence in [0, 100, 255, 256, 511, 512, 599] {
        evidence.change(sequence, false).await;
        evidence.expect("an event changed", &format!("changed at sequence {sequence}:")).await;
    }
    for (sequence, found) in
        [(100, 100), (255, 255), (511, 511), (512, 512), (550, 512), (599, 592)]
    {
        evidence.change(sequence, true).await;
        evidence.expect("changed with its hash", &format!("changed at sequence {found}:")).await;
    }
    for column in ["salt", "leaf_hash"] {
        for sequence in [100, 550] {
            let value = evidence.bytes(&[7; 32][..if column == "salt" { 16 } else { 32 }]);
            evidence.set(sequence, &format!("{column} = {value}")).await;
            evidence.expect(column, &format!("changed at sequence {sequence}:")).await;
        }
    }
    for (column, value) in [
        ("id", "'audit_event_X'"),
        ("action", "'doc.other'"),
        ("version", "2"),
        ("occurred_at", "occurred_at + 1"),
        ("created_at", "created_at - 1"),
        ("actor_id", "'user_x'"),
        ("actor_name", "NULL"),
        ("target_types", "'document'"),
        ("target_ids", "target_ids || target_ids"),
    ] {
        evidence.set(300, &format!("{column} = {value}")).await;
        let expected = format!("changed at sequence 300: the column {column} is not");
        evidence.expect("a column", &expected).await;
    }
    for half in ["payload", "salt"] {
        evidence.set(9, &format!("{half} = {}", evidence.bytes(&[]))).await;
        evidence.expect("half erased", "changed at sequence 9: the event is half erased").await;
    }
}

async fn rows_that_went_or_came_or_moved_are_found(engine: Engine) {
    let evidence = Evidence::new(engine).await;
    for (first, last) in
        [(0, 0), (599, 599), (300, 300), (10, 20), (100, 400), (0, 599), (590, 599)]
    {
        evidence
            .execute(&format!(
                "DELETE FROM events WHERE organization_id = 'acme' \
                 AND sequence BETWEEN {first} AND {last}"
            ))
            .await;
        evidence.expect("deleted", &format!("missing at sequence {first}:")).await;
    }
    for (sequence, found) in [(0, 0), (100, 100), (255, 255), (511, 511), (550, 512)] {
        for with_head in [false, true] {
            evidence
                .execute(&format!(
                    "DELETE FROM events WHERE organization_id = 'acme' AND sequence = {sequence}"
                ))
                .await;
            evidence.renumber(sequence, -1).await;
            // Then nothing tells a last event in a tile that is gone from one that was changed.
            if with_head && sequence < 511 {
                evidence.head("size = size - 1").await;
            }
            let expected = format!("missing at sequence {found}:");
            evidence.expect("deleted and moved up", &expected).await;
        }
    }
    for (sequence, found) in [(100, 100), (511, 511), (550, 512), (600, 600), (700, 700)] {
        evidence.renumber(sequence, 1).await;
        evidence.insert(sequence).await;
        evidence.expect("inserted", &format!("inserted at sequence {found}:")).await;
    }
    for (one, other) in [(100, 101), (0, 255), (100, 300), (100, 550), (511, 512)] {
        evidence.swap(one, other).await;
        evidence.expect("swapped", &format!("reordered at sequence {one}:")).await;
    }
    evidence.swap(550, 551).await;
    evidence.expect("swapped after the last tile", "changed at sequence 512:").await;
}

async fn heads_that_were_tampered_with_are_found(engine: Engine) {
    let evidence = Evidence::new(engine).await;
    evidence.head("size = 590").await;
    evidence.expect("head set back", "head at sequence 590:").await;
    let frontier = evidence.bytes(&evidence.tree(590).await.to_bytes());
    evidence.head(&format!("size = 590, frontier = {frontier}")).await;
    evidence.expect("head set back with its frontier", "head at sequence 590:").await;
    evidence.head("size = 5000000000").await;
    evidence.expect("head set forth", "missing at sequence 600:").await;
    evidence.head("size = -1").await;
    evidence.expect("negative head", "head at sequence 0:").await;
    let frontier = evidence.tree(EVENTS).await.to_bytes();
    for (peak, found) in [(0, 0), (1, 512), (2, 576), (3, 592)] {
        let mut frontier = frontier.clone();
        frontier[peak * 32] ^= 1;
        evidence.head(&format!("frontier = {}", evidence.bytes(&frontier))).await;
        evidence.expect("frontier", &format!("head at sequence {found}:")).await;
    }
    evidence.execute("DELETE FROM log_heads WHERE organization_id = 'acme'").await;
    evidence.expect("no head", "head at sequence 0:").await;
    evidence.execute("DELETE FROM organizations WHERE id = 'acme'").await;
    evidence.expect("no organization", "organization: there is no such organization").await;
}

async fn tiles_that_were_tampered_with_are_found(engine: Engine) {
    let evidence = Evidence::new(engine).await;
    let of_tile = "WHERE organization_id = 'acme' AND level = 0 AND tile = 1";
    evidence.execute(&format!("DELETE FROM log_tiles {of_tile}")).await;
    evidence.expect("a tile deleted", "tile at sequence 256:").await;
    let mut hashes: Vec<Hash> =
        evidence.rows().await[256..512].iter().map(|row| row.leaf).collect();
    hashes[44] = [9; 32];
    let altered = evidence.bytes(&hashes.concat());
    evidence.execute(&format!("UPDATE log_tiles SET hashes = {altered} {of_tile}")).await;
    evidence.expect("a tile altered", "tile at sequence 300:").await;
    while hashes.len() > 1 {
        hashes = hashes.chunks(2).map(|pair| node_hash(&pair[0], &pair[1])).collect();
    }
    let root = evidence.bytes(&hashes[0]);
    evidence.execute(&format!("UPDATE log_tiles SET root = {root} {of_tile}")).await;
    evidence.expect("a tile's root altered", "tile at sequence 256:").await;
    let both = format!("hashes = {altered}, root = {root}");
    evidence.execute(&format!("UPDATE log_tiles SET {both} {of_tile}")).await;
    evidence.expect("a tile and its root altered", "tile at sequence 300:").await;
    evidence.execute(&format!("UPDATE log_tiles SET hashes = {root} {of_tile}")).await;
    evidence.expect("a tile cut", "tile at sequence 256:").await;
    evidence.execute(&format!("UPDATE log_tiles SET tile = 7 {of_tile}")).await;
    evidence.expect("a tile moved", "tile at sequence 256:").await;
    evidence
        .execute(
            "INSERT INTO log_tiles (organization_id, level, tile, hashes, root) \
             SELECT organization_id, 1, 0, hashes, root FROM kept_log_tiles \
             WHERE organization_id = 'acme' AND level = 0 AND tile = 0",
        )
        .await;
    evidence.expect("a tile added", "tile at sequence 600:").await;
}

async fn checkpoints_that_were_tampered_with_are_found(engine: Engine) {
    let evidence = Evidence::new(engine).await;
    let of_checkpoint = "WHERE organization_id = 'acme' AND size = 300";
    for change in ["size = 299", "note = 'x'", "note = replace(note, '300', '299')"] {
        evidence.execute(&format!("UPDATE checkpoints SET {change} {of_checkpoint}")).await;
        let expected = if change == "size = 299" { 299 } else { 300 };
        let expected = format!("checkpoint at sequence {expected}:");
        evidence.expect("a checkpoint altered", &expected).await;
    }
    evidence.execute("DELETE FROM checkpoints").await;
    let stranger = SigningKey::from_seed([7; 32]);
    evidence.store_checkpoint(300, &stranger).await;
    evidence.expect("signed by a stranger", "checkpoint at sequence 300:").await;
    // A key that only the database lists is believed, and that is said, unless those to believe are named.
    evidence.execute("DELETE FROM checkpoints").await;
    evidence.store_checkpoint(300, &stranger).await;
    let listed = evidence.bytes(&stranger.public_key().0);
    let list = format!("INSERT INTO signing_keys (public_key, created_at) VALUES ({listed}, 0)");
    evidence.execute(&list).await;
    let outcome = evidence.verify(&[]).await;
    assert_eq!(outcome.code, Some(0), "{outcome:?}");
    assert!(outcome.stderr.contains("Believing 1 key only because"), "{outcome:?}");
    let ours = VerifierKey::new("audit-logs/acme", evidence.key.public_key()).unwrap().to_string();
    let ours = ["--public-key", &ours];
    evidence.expect_with("and listed", "checkpoint at sequence 300:", &ours).await;
}

async fn a_log_that_was_rebuilt_contradicts_its_checkpoints(engine: Engine) {
    let evidence = Evidence::new(engine).await;
    evidence.program.write("since", evidence.note(EVENTS, &evidence.key).await);
    let since = ["--since", "since"];
    for (sequence, found) in [(100, 0), (300, 300), (550, 300)] {
        evidence.change(sequence, true).await;
        evidence.rebuild().await;
        let expected = format!("checkpoint at sequence {found}:");
        evidence.expect("changed and rebuilt", &expected).await;
        evidence.change(sequence, true).await;
        evidence.rebuild().await;
        evidence.execute("DELETE FROM checkpoints").await;
        evidence.verify(&[]).await.expect_success();
        let expected = "checkpoint at sequence 0: the checkpoint of 600 events in since";
        evidence.expect_with("and no checkpoint stored", expected, &since).await;
    }
    let cut = "DELETE FROM events WHERE organization_id = 'acme' AND sequence >= 500";
    evidence.execute(cut).await;
    evidence.rebuild().await;
    evidence.expect("cut off", "checkpoint at sequence 500:").await;
    evidence.execute(cut).await;
    evidence.rebuild().await;
    evidence.execute("DELETE FROM checkpoints").await;
    evidence.verify(&[]).await.expect_success();
    evidence.expect_with("and no checkpoint stored", "checkpoint at sequence 500:", &since).await;
    for table in TABLES {
        let column = if table == "organizations" { "id" } else { "organization_id" };
        evidence.execute(&format!("DELETE FROM {table} WHERE {column} = 'acme'")).await;
    }
    evidence.verify(&[]).await.expect_success();
    let outcome = evidence.verify(&since).await;
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stdout.contains("TAMPERED acme: checkpoint at sequence 0:"), "{outcome:?}");
}

async fn what_retention_erased_is_no_tampering(engine: Engine) {
    let evidence = Evidence::new(engine).await;
    // What nobody could ever count through ends soon, too.
    let endless = i64::MAX - 600;
    let retention = "(organization_id, erased_below, deleted_below) VALUES ('acme'";
    evidence
        .execute(&format!("UPDATE log_heads SET size = {endless} WHERE organization_id = 'acme'"))
        .await;
    evidence.execute(&format!("INSERT INTO log_retention {retention}, {endless}, 0)")).await;
    evidence.expect("a head and a retention without end", "").await;
    let nothing = evidence.bytes(&[]);
    let erased = format!(
        "payload = {nothing}, salt = {nothing}, action = '', actor_id = '', actor_name = NULL, \
         target_types = '', target_ids = ''"
    );
    let erase = async |below: u64| {
        evidence
            .execute("DELETE FROM events WHERE organization_id = 'acme' AND sequence < 2")
            .await;
        evidence.set(2, &erased).await;
        let row = format!("INSERT INTO log_retention VALUES ('acme', {below}, 2, NULL, NULL)");
        evidence.execute(&row).await;
    };
    erase(3).await;
    let said = evidence.verify(&[]).await.expect_success();
    assert!(said.contains("861 events (3 erased by retention)"), "{said}");
    evidence.set(2, "actor_id = 'user_1'").await;
    evidence.expect("half erased", "changed at sequence 2: the event is half erased").await;
    erase(2).await;
    evidence.expect("erased too much", "missing at sequence 2: the event is erased, but not").await;
    erase(4).await;
    evidence.expect("erased too little", "inserted at sequence 3: the event is there").await;
    evidence.set(300, &erased).await;
    evidence
        .expect("erased by hand", "missing at sequence 300: the event is erased, but not")
        .await;
}

async fn what_cannot_be_checked_is_said(engine: Engine) {
    let evidence = Evidence::new(engine).await;
    let stranger = SigningKey::from_seed([7; 32]);
    evidence.program.write("forged", evidence.note(300, &stranger).await);
    evidence.program.write("since", evidence.note(300, &evidence.key).await);
    let nowhere = match engine {
        Engine::Sqlite => "sqlite://nowhere.db".to_owned(),
        Engine::Postgres => {
            format!("postgres://postgres@127.0.0.1:{}/x", crate::support::postgres::free_port())
        }
    };
    for (options, named) in [
        (&["--organization", "nobody"][..], "nobody"),
        (&["--since", "nowhere"], "nowhere"),
        (&["--since", "forged"], "forged"),
        (&["--since", "since", "--organization", "hooli"], "checkpoint of acme"),
        (&["--public-key", "nowhere"], "nowhere"),
        (&["--database-url", &nowhere], "database"),
        (&["--database-url", "mysql://x"], "database_url"),
    ] {
        let outcome = evidence.verify(options).await;
        assert_eq!(outcome.code, Some(2), "{options:?}: {outcome:?}");
        assert!(outcome.stderr.contains(named), "{options:?}: {outcome:?}");
        assert!(!outcome.stdout.contains("verified"), "{options:?}: {outcome:?}");
    }
    assert!(!evidence.program.path("nowhere.db").exists(), "nothing was made");
    let old = Program::on_nothing(engine).await;
    if engine == Engine::Postgres {
        let outcome = old.run(&["verify", "database"]).await;
        assert_eq!(outcome.code, Some(2), "{outcome:?}");
        assert!(outcome.stderr.contains("migrate"), "{outcome:?}");
    }
}

/// A database of before there were trees.
async fn a_log_without_a_tree_gets_one(engine: Engine) {
    let evidence = Evidence::new(engine).await;
    let emptied = format!("UPDATE log_heads SET frontier = {}", evidence.bytes(&[]));
    evidence.execute(&emptied).await;
    evidence.execute("DELETE FROM log_tiles").await;
    evidence.execute("DELETE FROM checkpoints").await;
    assert_eq!(evidence.verify(&[]).await.code, Some(1));
    for _ in 0..2 {
        evidence.program.run(&["migrate"]).await.expect_success();
        let said = evidence.verify(&[]).await.expect_success();
        assert!(said.starts_with("verified: 861 events, 3 tiles and 0 checkpoints"), "{said}");
    }
    // A tree that lost its frontier is not built anew: that would cover up what was done to it.
    evidence.execute(&emptied).await;
    let outcome = evidence.program.run(&["migrate"]).await;
    assert!(outcome.stderr.contains("the frontier of a log is gone"), "{outcome:?}");
    outcome.expect_success();
    assert_eq!(evidence.verify(&[]).await.code, Some(1));
    // A log of which an event is missing is in nobody's way.
    evidence.execute("DELETE FROM log_tiles").await;
    evidence.execute("DELETE FROM events WHERE organization_id = 'acme' AND sequence = 300").await;
    let outcome = evidence.program.run(&["migrate"]).await;
    assert!(outcome.stderr.contains("acme") && outcome.stderr.contains("300"), "{outcome:?}");
    outcome.expect_success();
    evidence.verify(&["--organization", "hooli"]).await.expect_success();
    evidence.verify(&["--organization", "umbrella"]).await.expect_success();
    assert_eq!(evidence.verify(&["--organization", "acme"]).await.code, Some(1));
}
