//! Floods of frames.

use super::{
    PATIENCE, Victim,
    frames::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, RST_STREAM, SETTINGS,
        block, call, connect, frame,
    },
};
use crate::support::server::ROOT_KEY;

/// `ENHANCE_YOUR_CALM` (RFC 9113, section 7).
const CALM: u32 = 11;
/// More than a connection may send beside its calls, and than the system takes that nobody reads.
const FLOOD: usize = 256 * 1_024 * 1_024;

/// Sends bytes until the connection is closed; it must be, before all were sent.
async fn is_closed_on(victim: &mut Victim, first: &[u8], bytes: &[u8]) -> Option<u32> {
    let (mut sender, receiver) = connect(victim.address()).await;
    sender.send(first).await.unwrap();
    // Whoever floods reads what comes back, or the server would not read on.
    let end = tokio::spawn(receiver.end());
    let (sent, ()) = tokio::join!(sender.flood(bytes, FLOOD), victim.serves_others());
    assert!(sent < FLOOD, "the connection took everything");
    tokio::time::timeout(PATIENCE, end).await.expect("the connection ends").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settings_and_pings_beside_calls_have_an_end() {
    let mut victim = Victim::start(&[]).await;
    let settings = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]).repeat(1_000);
    is_closed_on(&mut victim, &[], &settings).await;
    let pings = frame(PING, 0, 0, &[7; 8]).repeat(1_000);
    is_closed_on(&mut victim, &[], &pings).await;
    let answers = frame(PING, ACK, 0, &[7; 8]).repeat(1_000);
    is_closed_on(&mut victim, &[], &answers).await;
    victim.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_an_end_are_refused() {
    let mut victim = Victim::start(&[]).await;
    let headers = call("/auditlogs.v1.AuditLogs/CreateEvent", ROOT_KEY);
    let begun = frame(HEADERS, 0, 1, &headers);
    let more = frame(CONTINUATION, 0, 1, &block(&[("x", &"y".repeat(1_000))]));
    assert_eq!(is_closed_on(&mut victim, &begun, &more).await, Some(CALM));
    // With nothing in them: as many as there may be, whatever their size.
    let empty = frame(CONTINUATION, 0, 1, &[]).repeat(100);
    assert_eq!(is_closed_on(&mut victim, &begun, &empty).await, Some(CALM));
    victim.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_that_are_too_large_cost_one_call() {
    let mut victim = Victim::start(&[]).await;
    let (mut sender, mut receiver) = connect(victim.address()).await;
    let large = "y".repeat(40_000);
    let mut headers = call("/auditlogs.v1.AuditLogs/CreateEvent", ROOT_KEY);
    headers.extend(block(&[("x", &large)]));
    let parts: Vec<_> = headers.chunks(16_384).collect();
    let last = parts.len() - 1;
    for (index, part) in parts.into_iter().enumerate() {
        let (kind, begin) = if index == 0 { (HEADERS, END_STREAM) } else { (CONTINUATION, 0) };
        let end = if index == last { END_HEADERS } else { 0 };
        sender.send(&frame(kind, begin | end, 1, part)).await.unwrap();
    }
    // 431, RFC 6585; or the stream or the connection is ended.
    let answered = async {
        while let Some((kind, ..)) = receiver.next().await {
            if [HEADERS, RST_STREAM].contains(&kind) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, answered).await.expect("an answer");
    drop((sender, receiver));
    victim.serves_others().await;
    victim.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_reset_at_once_take_no_places() {
    // So few that one place which is not given back shows.
    let mut victim = Victim::start(&[
        ("AUDIT_LOGS_LIMITS_CONCURRENT_REQUESTS", "16"),
        ("AUDIT_LOGS_LIMITS_CONCURRENT_STREAMS", "16"),
    ])
    .await;
    for (method, key) in [
        ("/auditlogs.v1.AuditLogs/CreateEvent", "sk_nobody"),
        ("/auditlogs.v1.AuditLogs/CreateEvent", ROOT_KEY),
        ("/auditlogs.v1.AuditLogs/WatchEvents", ROOT_KEY),
    ] {
        let headers = call(method, key);
        for _ in 0..4 {
            let (mut sender, receiver) = connect(victim.address()).await;
            let end = tokio::spawn(receiver.end());
            for first in (1..20_000_u32).step_by(200) {
                let mut bytes = Vec::new();
                for stream in (first..first + 200).step_by(2) {
                    bytes.extend(frame(HEADERS, END_HEADERS, stream, &headers));
                    // CANCEL.
                    bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
                }
                if sender.send(&bytes).await.is_err() {
                    break;
                }
            }
            drop(sender);
            // Closed before, as a flood, or now, as a connection that has ended.
            let code = tokio::time::timeout(PATIENCE, end).await.expect("it ends").unwrap();
            assert!(code.is_none_or(|code| [0, CALM].contains(&code)), "{code:?}");
        }
    }
    crate::support::until("places are free", async || {
        let request = crate::support::create_event("acme", "doc.read");
        victim.other.create_event(request).await.ok()
    })
    .await;
    victim.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn empty_data_takes_no_memory() {
    let mut victim = Victim::start(&[]).await;
    let (mut sender, receiver) = connect(victim.address()).await;
    let end = tokio::spawn(receiver.end());
    let headers = call("/auditlogs.v1.AuditLogs/IngestEvents", ROOT_KEY);
    sender.send(&frame(HEADERS, END_HEADERS, 1, &headers)).await.unwrap();
    let empty = frame(DATA, 0, 1, &[]).repeat(1_000);
    let (_, ()) = tokio::join!(sender.flood(&empty, 4 * 1_024 * 1_024), victim.serves_others());
    drop(sender);
    tokio::time::timeout(PATIENCE, end).await.expect("it ends").unwrap();
    victim.recovers().await;
}
