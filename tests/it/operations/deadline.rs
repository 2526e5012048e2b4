//! A deadline that passes while somebody else holds the log.

use audit_logs::proto::v1::CreateEventRequest;
use sea_orm::{
    ConnectionTrait, Database, DatabaseTransaction, SqliteTransactionMode, TransactionOptions,
    TransactionTrait,
};
use tonic::Code;

use super::http::refused_call;
use crate::support::{
    Engine, Refusal, TestServer, create_event, on_every_engine, schema_for, server::ROOT_KEY,
};

on_every_engine!(a_deadline_that_passes_is_told_and_the_event_can_be_repeated);

/// Holds the log of acme, so that no event can get in.
async fn hold_log(server: &TestServer) -> DatabaseTransaction {
    let database = Database::connect(server.settings.database_url()).await.unwrap();
    let options = TransactionOptions {
        sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        ..Default::default()
    };
    let transaction = database.begin_with_options(options).await.unwrap();
    if server.engine == Engine::Postgres {
        let lock = "SELECT 1 FROM log_heads WHERE organization_id = 'acme' FOR UPDATE";
        assert_eq!(transaction.execute_unprepared(lock).await.unwrap().rows_affected(), 1);
    }
    transaction
}

async fn a_deadline_that_passes_is_told_and_the_event_can_be_repeated(engine: Engine) {
    let server = TestServer::start(engine).await;
    let mut client = server.client().await;
    client.create_action_schema(schema_for("doc.read")).await.unwrap();
    client.create_event(create_event("acme", "doc.read")).await.unwrap();
    let request =
        CreateEventRequest { idempotency_key: "once".into(), ..create_event("acme", "doc.read") };

    let held = hold_log(&server).await;
    let key = format!("Bearer {ROOT_KEY}");
    let headers = [("authorization", &*key), ("grpc-timeout", "200m")];
    let method = "auditlogs.v1.AuditLogs/CreateEvent";
    let status = refused_call(&server, method, &request, &headers).await;
    let refusal = Refusal::of(&status);
    assert_eq!((refusal.code, &*refusal.reason), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    // A client's own timer may be faster; it stays the same to the caller.
    let mut impatient = tonic::Request::new(request.clone());
    impatient.set_timeout(std::time::Duration::from_millis(200));
    let code = client.create_event(impatient).await.unwrap_err().code();
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&code), "{code}");
    // Reading goes on meanwhile.
    let list = audit_logs::proto::v1::ListEventsRequest {
        organization_id: "acme".into(),
        ..Default::default()
    };
    assert_eq!(client.list_events(list).await.unwrap().into_inner().events.len(), 1);
    held.rollback().await.unwrap();

    let first = client.create_event(request.clone()).await.unwrap().into_inner();
    let second = client.create_event(request).await.unwrap().into_inner();
    assert_eq!((first.sequence, second.sequence, second.duplicate), (1, 1, true));
    assert_eq!(server.count("events").await, 2);
}
