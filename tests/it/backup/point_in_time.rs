//! A PostgreSQL base backup and the archive of its write-ahead log, brought back to a point in time.

use std::fs;

use super::{checkpoint, goes_on_from_there, load::Load};
use crate::{
    program::process::Program,
    support::{
        cluster::{self, Cluster},
        server::ROOT_KEY,
        until,
    },
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_base_backup_is_brought_to_a_point_in_time() {
    if !cluster::is_installed() {
        return;
    }
    let archive = tempfile::tempdir().unwrap();
    cluster::give_to_postgres(archive.path());
    let directory = archive.path().display();
    let options = [
        "-c archive_mode=on".to_owned(),
        format!("-c archive_command='test ! -f {directory}/%f && cp %p {directory}/%f'"),
    ];
    let cluster = Cluster::start(&options.each_ref().map(String::as_str));
    let program = Program::over(Some(format!("{}/postgres", cluster.base())));
    let program = program.with("AUDIT_LOGS_BOOTSTRAP_API_KEY", ROOT_KEY);
    let server = program.serve_with(&["--migrate"]).await;
    let load = Load::start(&server).await;
    load.wait_for(20).await;
    let mut copy = cluster.base_backup();
    load.wait_for(260).await;
    let older = checkpoint(&server, "acme").await;
    let known = load.acknowledged();
    program
        .query_integers("SELECT 1::bigint FROM pg_create_restore_point('before_the_mistake')")
        .await;
    load.wait_for(20).await;
    let newer = checkpoint(&server, "acme").await;
    load.stop().await;
    server.stop().await.expect_success();
    // The end of the log is archived when its segment is full, or now.
    let last = "SELECT 1::bigint FROM pg_switch_wal()";
    program.query_integers(last).await;
    let behind = "SELECT COUNT(*) FROM pg_stat_archiver \
                  WHERE last_archived_wal >= pg_walfile_name(pg_current_wal_lsn() - 1)";
    until("the log is archived", async || {
        (program.query_integers(behind).await == [1]).then_some(())
    })
    .await;
    drop(cluster);

    copy.recover(&format!(
        "-c restore_command='cp {directory}/%f %p' -c recovery_target_name=before_the_mistake \
         -c recovery_target_action=promote"
    ));
    let restored = Program::over(Some(format!("{}/postgres", copy.base())));
    let restored = restored.with("AUDIT_LOGS_BOOTSTRAP_API_KEY", ROOT_KEY);
    until("the recovery ends", async || {
        let asked = "SELECT CASE WHEN pg_is_in_recovery() THEN 1 ELSE 0 END::bigint";
        restored.try_integers(asked).await.filter(|answer| *answer == [0])
    })
    .await;
    fs::create_dir(restored.path("data")).unwrap();
    let key = "data/signing-key.pem";
    fs::copy(program.path(key), restored.path(key)).unwrap();
    goes_on_from_there(&restored, &known, &older, &newer).await;
}
