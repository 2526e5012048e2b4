//! Streams that break off, again and again.

use audit_logs::client::Client;

use super::support::{Seen, client_with_events, from, write};
use crate::{
    operations::proxy::{Line, Proxy},
    support::{Engine, TestServer, on_every_engine, server::ROOT_KEY},
};

on_every_engine!(a_stream_that_is_cut_off_is_resumed_exactly);

async fn a_stream_that_is_cut_off_is_resumed_exactly(engine: Engine) {
    const ROUNDS: u64 = 8;
    const EACH: u64 = 700;
    let server = TestServer::start(engine).await;
    let mut client = client_with_events(&server, EACH).await;
    let (mut proxy, url) = Proxy::open(&server.url).await;
    let (mut sequences, mut next) = (Vec::new(), 0);
    for round in 0..ROUNDS {
        proxy.set(Line::Open);
        let through = Client::connect(&url, ROOT_KEY).await.unwrap().audit_logs();
        let mut seen = Seen::start(&through, from(next)).await;
        let writer = tokio::spawn({
            let mut client = client.clone();
            async move { write(&mut client, EACH).await }
        });
        // Some way into what there is, and then cut off wherever it stands.
        while seen.events.len() < usize::try_from(EACH / 3 + round).unwrap() {
            seen.frame().await.unwrap();
        }
        proxy.set(Line::Cut);
        let status = seen.until_end().await;
        // Nobody could tell the client anything.
        assert!(!status.message().is_empty());
        sequences.extend(seen.sequences());
        next = seen.next.unwrap();
        writer.await.unwrap();
    }
    write(&mut client, 1).await;
    let end = (ROUNDS + 1) * EACH + 1;
    let mut seen = Seen::start(&client, from(next)).await;
    seen.until_next(end).await;
    sequences.extend(seen.sequences());
    assert_eq!(sequences, (0..end).collect::<Vec<_>>());
}
