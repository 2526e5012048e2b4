//! Attempts that go on while another worker has the job, or after it was called off.

use audit_logs::proto::v1::{CancelExportRequest, ExportState};

use super::{
    ALWAYS, assert_proved,
    bucket::{self, Bucket, Fault},
    fill, json_lines,
};
use crate::{
    export_jobs::{follow, look, start},
    program::process::Program,
    support::{Engine, on_every_engine, until},
};

on_every_engine!(
    a_stale_attempt_leaves_its_successors_file,
    a_cancelled_export_leaves_no_upload,
    a_failing_bucket_is_asked_until_patience_ends,
);

/// A bucket that does not answer keeps the first worker taking back what it wrote. Its lease is kept for as
/// long; when another worker gets the job all the same, what that one wrote stays.
async fn a_stale_attempt_leaves_its_successors_file(engine: Engine) {
    if !bucket::is_installed() {
        return;
    }
    let bucket = Bucket::start().await;
    let program = bucket.serves(Program::on(engine).await);
    let server = program.serve().await;
    let mut client = server.client().await;
    fill(&mut client).await;
    // The parts pass, the end of the upload does not; then those and the file, but not the manifest.
    for (attempt, pass) in [(1, 3), (2, 4)] {
        bucket.hold_a_list();
        bucket.harm(pass, 1, Fault::Refuse);
        let id = start(&mut client, json_lines()).await.id;
        until("the file is taken back", async || bucket.holds_a_list().then_some(())).await;
        let lease = format!("SELECT lease_until FROM exports WHERE id = '{id}'");
        let before = program.query_integers(&lease).await[0];
        until("the lease is renewed", async || {
            (program.query_integers(&lease).await[0] > before).then_some(())
        })
        .await;
        program
            .execute(&format!(
                "UPDATE exports SET lease_owner = NULL, lease_until = 0 WHERE id = '{id}'"
            ))
            .await;
        let export = follow(&mut client, &id).await.pop().unwrap();
        assert_eq!((export.state(), export.error.as_str()), (ExportState::Ready, ""), "{pass}");
        bucket.release();
        until("the first worker gives up", async || {
            (server.process.stderr.text().matches("an export failed").count() == attempt)
                .then_some(())
        })
        .await;
        assert_proved(&program, &look(&mut client, &id).await).await;
        assert_eq!((bucket.files().await, bucket.uploads().await), (2 * attempt, 0), "{pass}");
    }
}

/// The first abort of its upload fails; the name of the upload is not forgotten for that.
async fn a_cancelled_export_leaves_no_upload(engine: Engine) {
    if !bucket::is_installed() {
        return;
    }
    let bucket = Bucket::start().await;
    let program = bucket.serves(Program::on(engine).await);
    let server = program.serve().await;
    let mut client = server.client().await;
    fill(&mut client).await;
    bucket.harm(2, ALWAYS, Fault::Hang);
    bucket.refuse_a_delete();
    let id = start(&mut client, json_lines()).await.id;
    let noted = "SELECT COUNT(*) FROM exports WHERE remains LIKE '1 _%'";
    until("an upload", async || (program.query_integers(noted).await[0] == 1).then_some(())).await;
    client.cancel_export(CancelExportRequest { export_id: id }).await.unwrap();
    until("no upload", async || (bucket.uploads().await == 0).then_some(())).await;
    let clear = "SELECT COUNT(*) FROM exports WHERE remains IS NULL";
    until("it is clear", async || (program.query_integers(clear).await[0] == 1).then_some(()))
        .await;
    assert_eq!(bucket.files().await, 0);
}

/// More often than ten times, within one attempt.
async fn a_failing_bucket_is_asked_until_patience_ends(engine: Engine) {
    if !bucket::is_installed() {
        return;
    }
    let bucket = Bucket::start().await;
    let program = bucket.serves(Program::on(engine).await);
    let program = program.with("AUDIT_LOGS_EXPORTS_STORE_PATIENCE_SECONDS", "4");
    let server = program.serve().await;
    let mut client = server.client().await;
    fill(&mut client).await;
    bucket.harm(0, 12, Fault::SlowDown);
    let id = start(&mut client, json_lines()).await.id;
    let export = follow(&mut client, &id).await.pop().unwrap();
    assert_eq!((export.state(), export.error.as_str()), (ExportState::Ready, ""));
    assert_eq!(program.query_integers("SELECT attempts FROM exports").await, [1]);
}
