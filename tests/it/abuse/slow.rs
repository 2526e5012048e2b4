//! Connections that say nothing, or little at a time.

use std::time::Duration;

use tokio::{
    io::AsyncWriteExt,
    net::tcp::{OwnedReadHalf, OwnedWriteHalf},
};

use super::{
    PATIENCE, Victim, closed, dial,
    frames::{
        ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS,
        call, connect, frame,
    },
};
use crate::support::server::ROOT_KEY;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_are_closed() {
    let mut victim = Victim::start(&[("AUDIT_LOGS_LIMITS_HANDSHAKE_SECONDS", "3")]).await;
    let mut silent = Vec::new();
    for bytes in [&b""[..], &PREFACE[..3], &PREFACE[..23], b"P"] {
        for _ in 0..100 {
            let mut stream = dial(victim.address()).await;
            stream.write_all(bytes).await.unwrap();
            silent.push(stream);
        }
    }
    victim.serves_others().await;
    for stream in silent {
        closed(stream).await;
    }
    victim.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_address_has_so_many_connections() {
    let victim = Victim::start(&[("AUDIT_LOGS_LIMITS_CONNECTIONS_PER_ADDRESS", "12")]).await;
    let mut open = Vec::new();
    for _ in 0..11 {
        let (sender, mut receiver) = connect(victim.address()).await;
        // The settings come from a connection that has a place.
        match receiver.until(SETTINGS).await {
            Some(_) => open.push((sender, receiver)),
            None => break,
        }
    }
    // The other caller has one, and reqwest may have kept one.
    assert!((9..=11).contains(&open.len()), "{}", open.len());
    assert!(closed(dial(victim.address()).await).await.is_empty());
    drop(open);
    victim.recovers().await;
}

/// Sends a byte now and then until the connection is closed.
async fn trickle(read: OwnedReadHalf, mut write: OwnedWriteHalf, byte: u8) -> Vec<u8> {
    let drops = async {
        while write.write_all(&[byte]).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        std::future::pending::<Vec<u8>>().await
    };
    tokio::select! {
        told = closed(read) => told,
        never = drops => never,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_come_drop_by_drop_are_ended() {
    let mut victim = Victim::start(&[
        ("AUDIT_LOGS_LIMITS_HEADER_SECONDS", "2"),
        ("AUDIT_LOGS_LIMITS_BODY_SECONDS", "2"),
    ])
    .await;
    let body = format!(
        "POST /audit_logs/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {ROOT_KEY}\r\n\
         content-length: 100000\r\n\r\n{{"
    );
    let mut slow = tokio::task::JoinSet::new();
    for bytes in ["GET /healthz HTTP/1.1\r\nhost: x\r\nx: ", &body] {
        for _ in 0..50 {
            let (read, mut write) = dial(victim.address()).await.into_split();
            write.write_all(bytes.as_bytes()).await.unwrap();
            let has_body = bytes.starts_with("POST");
            slow.spawn(async move { (has_body, trickle(read, write, b' ').await) });
        }
    }
    victim.serves_others().await;
    while let Some(ended) = slow.join_next().await {
        let (has_body, told) = ended.unwrap();
        let told = String::from_utf8(told).unwrap();
        // Who never finished the headers has asked for nothing that could be answered.
        assert!(!has_body || told.starts_with("HTTP/1.1 408"), "{told}");
    }
    victim.recovers().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_without_calls_is_sent_away() {
    let victim = Victim::start(&[
        ("AUDIT_LOGS_LIMITS_IDLE_SECONDS", "2"),
        ("AUDIT_LOGS_LIMITS_HANDSHAKE_SECONDS", "5"),
        ("AUDIT_LOGS_LIMITS_STREAMS_PER_CONNECTION", "77"),
    ])
    .await;
    let (_sender, mut receiver) = connect(victim.address()).await;
    let settings = receiver.until(SETTINGS).await.unwrap();
    let setting = |id: u8| {
        let found = settings.chunks(6).find(|setting| setting[..2] == [0, id]);
        found.map(|setting| u32::from_be_bytes(setting[2..].try_into().unwrap()))
    };
    // SETTINGS_MAX_CONCURRENT_STREAMS and SETTINGS_MAX_HEADER_LIST_SIZE (RFC 9113, section 6.5.2).
    assert_eq!((setting(3), setting(6)), (Some(77), Some(32_768)));
    receiver.until(GOAWAY).await.expect("it is sent away");
    // Whether it goes or not.
    receiver.end().await;
    victim.recovers().await;
}

/// A client that is gone without a word, in the middle of a call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_say_that_it_is_there_is_given_up() {
    let victim = Victim::start(&[("AUDIT_LOGS_LIMITS_KEEPALIVE_SECONDS", "2")]).await;
    let (mut sender, mut receiver) = connect(victim.address()).await;
    let headers = call("/grpc.health.v1.Health/Watch", "");
    let asked = [frame(HEADERS, END_HEADERS, 1, &headers), frame(DATA, END_STREAM, 1, &[0; 5])];
    sender.send(&asked.concat()).await.unwrap();
    receiver.until(DATA).await.expect("it watches");
    receiver.until(PING).await.expect("it is asked whether it is there");
    // The call would go on for ever.
    tokio::time::timeout(PATIENCE, receiver.end()).await.expect("the connection is closed");
    victim.recovers().await;
}

/// A client that gives answers no room, but is there and says so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_takes_are_given_up() {
    let mut victim = Victim::start(&[("AUDIT_LOGS_LIMITS_ANSWER_SECONDS", "3")]).await;
    let (mut sender, mut receiver) = connect(victim.address()).await;
    // SETTINGS_INITIAL_WINDOW_SIZE is nothing, then one byte: the answer is made, or handed over.
    for (stream, window) in [(1, 0), (3, 1)] {
        let headers = call("/auditlogs.v1.AuditLogs/ListActions", ROOT_KEY);
        let asked = [
            frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, window]),
            frame(HEADERS, END_HEADERS, stream, &headers),
            frame(DATA, END_STREAM, stream, &[0; 5]),
        ];
        sender.send(&asked.concat()).await.unwrap();
    }
    let alive = async {
        while sender.send(&frame(PING, 0, 0, &[7; 8])).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        std::future::pending::<()>().await;
    };
    let seen = async {
        let mut seen = Vec::new();
        while let Some((kind, flags, _)) = receiver.next().await {
            seen.push((kind, flags));
        }
        seen
    };
    let seen = tokio::select! {
        seen = seen => seen,
        () = alive => unreachable!(),
    };
    let count = |kind| seen.iter().filter(|(found, _)| *found == kind).count();
    assert_eq!((count(HEADERS), count(RST_STREAM)), (2, 0), "{seen:?}");
    assert!(seen.contains(&(PING, ACK)), "{seen:?}");
    victim.serves_others().await;
    victim.recovers().await;
}
