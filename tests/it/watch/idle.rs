//! Many who wait for nothing.

use super::support::{Seen, client_with_events, watch_acme, write};
use crate::support::{Engine, TestServer, on_every_engine, until};

on_every_engine!(a_thousand_idle_watchers_are_told_when_something_happens);

async fn a_thousand_idle_watchers_are_told_when_something_happens(engine: Engine) {
    const WATCHERS: usize = 1_000;
    let server = TestServer::start(engine).await;
    let mut client = client_with_events(&server, 1).await;
    let mut watchers = Vec::with_capacity(WATCHERS);
    for number in 0..WATCHERS {
        // Each tenth waits for something that does not come.
        let mut request = watch_acme(None);
        if number % 10 == 0 {
            request.actor_ids = vec!["nobody".into()];
        }
        let mut seen = Seen::start(&client, request).await;
        seen.until_next(1).await;
        watchers.push(seen);
    }
    let hub = server.services.watches.hub();
    assert_eq!(hub.watchers(), WATCHERS);
    write(&mut client, 5).await;
    for (number, seen) in watchers.iter_mut().enumerate() {
        if number % 10 != 0 {
            seen.until_next(6).await;
            assert_eq!(seen.sequences(), [1, 2, 3, 4, 5]);
        }
    }
    drop(watchers);
    until("nobody watches", async || (hub.watchers() == 0).then_some(())).await;
}
