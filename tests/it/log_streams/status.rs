//! `GetStatus`: how a stream is doing, as it changes.

use std::time::Duration;

use audit_logs::proto::v1::{
    LogStreamState, LogStreamStatus, LogStreamsDeleteRequest, LogStreamsGetStatusRequest,
    LogStreamsGetStatusResponse,
};
use tonic::{Code, Status, Streaming};

use super::support::{
    TOKEN, create, https_receiver, record, server, stream_of_acme, to_https, until_next,
};
use crate::{
    receivers::Fault,
    support::{Engine, TestServer, on_every_engine, status::Refusal},
};

on_every_engine!(
    an_outage_is_told_as_it_happens,
    the_stream_ends_with_the_key_and_with_the_log_stream,
);

const PATIENCE: Duration = Duration::from_mins(1);

type Frames = Streaming<LogStreamsGetStatusResponse>;

async fn watch(server: &TestServer, key: &str, id: &str) -> Frames {
    let request = LogStreamsGetStatusRequest { log_stream_id: id.to_owned(), watch: None };
    server.log_streams_as(key).await.get_status(request).await.unwrap().into_inner()
}

/// Reads on until a frame is as wanted; returns it.
async fn until_frame(
    frames: &mut Frames,
    wanted: impl Fn(&LogStreamStatus) -> bool,
) -> LogStreamStatus {
    let read = async {
        loop {
            let frame = frames.message().await.unwrap().unwrap().status.unwrap();
            if wanted(&frame) {
                return frame;
            }
        }
    };
    tokio::time::timeout(PATIENCE, read).await.expect("a frame like this")
}

async fn an_outage_is_told_as_it_happens(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let mut frames = watch(&server, crate::support::server::ROOT_KEY, &id).await;
    let first = until_frame(&mut frames, |_| true).await;
    assert_eq!((first.state(), first.tree_size, first.lag_events), (LogStreamState::Active, 0, 0));
    let mut client = server.client().await;
    record(&mut client, "acme", 20).await;
    let busy = until_frame(&mut frames, |frame| frame.events_per_second > 0.0).await;
    assert!(busy.bytes_per_second > busy.events_per_second && busy.delivered_events > 0);
    until_next(&server, &id, 20).await;
    receiver.misbehave(Fault::Status(503, None), usize::MAX);
    record(&mut client, "acme", 5).await;
    let broken = until_frame(&mut frames, |frame| frame.consecutive_failures > 0).await;
    assert_eq!(broken.state(), LogStreamState::Error);
    assert!(broken.lag_events == 5 && broken.lag_seconds > 0.0, "{broken:?}");
    assert!(broken.last_error.contains("503") && broken.next_attempt_at.is_some(), "{broken:?}");
    receiver.heal();
    let well = until_frame(&mut frames, |frame| frame.lag_events == 0).await;
    assert_eq!((well.state(), well.next_sequence), (LogStreamState::Active, 25));
    let micros = |time: Option<prost_types::Timestamp>| time.map(|t| (t.seconds, t.nanos));
    assert!(micros(well.last_success_at) > micros(well.last_error_at));
    assert_eq!(well.delivered_events, 25);
}

async fn the_stream_ends_with_the_key_and_with_the_log_stream(engine: Engine) {
    let (server, receiver) = (server(engine).await, https_receiver().await);
    let id = create(&server, stream_of_acme(to_https(&receiver, TOKEN))).await;
    let key = server.key_with(&["log_streams"], &[]).await;
    let end = async |mut frames: Frames| -> Status {
        let read = async {
            loop {
                if let Err(status) = frames.message().await {
                    return status;
                }
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an end")
    };
    let by_key = watch(&server, &key, &id).await;
    server.execute("UPDATE api_keys SET revoked_at = 1 WHERE name = 'test'").await;
    assert_eq!(Refusal::of(&end(by_key).await).code, Code::Unauthenticated);
    let by_root = watch(&server, crate::support::server::ROOT_KEY, &id).await;
    let delete = LogStreamsDeleteRequest { log_stream_id: id };
    server.log_streams().await.delete(delete).await.unwrap();
    assert_eq!(Refusal::of(&end(by_root).await).reason, "LOG_STREAM_NOT_FOUND");
}
