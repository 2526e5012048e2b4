//! What replicas tell each other, so that a watcher on one hears at once of what another writes.
//!
//! Every replica says now and then whether anybody watches on it. Who hears that of another tells, a few
//! times in a hundredth of a second at most and never within a write, which logs it wrote to. Where
//! messages do not get through, watchers hear of events a second later ([`Hub::run`]).

use std::{
    collections::HashSet,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use super::hub::{Hub, Inner, lock};
use crate::{
    domain::ids::OrganizationId,
    store::{Listener, MESSAGE_BYTES, StoreError},
};

/// How often a replica says whether anybody watches on it.
const HELLO: Duration = Duration::from_secs(10);
/// How long such a word counts. Who has not heard its own for as long hears nothing.
const COUNTS: Duration = Duration::from_secs(30);
/// Grown logs are told of at most once in this time.
const TELL_PACE: Duration = Duration::from_millis(4);
/// How long to wait before listening again after the connection was lost.
const AGAIN: Duration = Duration::from_secs(1);

/// What replicas tell each other. Text, so that an operator can read it.
#[derive(Debug, PartialEq, Eq)]
enum Message<'a> {
    /// Whether a replica has watchers: `hello REPLICA yes`.
    Hello { replica: &'a str, watched: bool },
    /// That a replica is new and wants to know who has watchers: `ask REPLICA`.
    Ask { replica: &'a str },
    /// That logs grew: `grew REPLICA ORGANIZATION ...`.
    Grew { replica: &'a str, organizations: Vec<&'a str> },
}

impl<'a> Message<'a> {
    /// `None` for what another version, or somebody else, may have said.
    fn parse(text: &'a str) -> Option<Self> {
        let mut words = text.split(' ');
        let (kind, replica) = (words.next()?, words.next()?);
        match kind {
            "hello" => Some(Self::Hello { replica, watched: words.next()? == "yes" }),
            "ask" => Some(Self::Ask { replica }),
            "grew" => Some(Self::Grew { replica, organizations: words.collect() }),
            _ => None,
        }
    }
}

/// The messages about logs that grew, as few as they fit in.
fn grown(replica: &str, organizations: impl Iterator<Item = OrganizationId>) -> Vec<String> {
    let start = format!("grew {replica}");
    let mut messages: Vec<String> = Vec::new();
    for organization in organizations {
        let id = organization.as_str();
        match messages.last_mut() {
            Some(last) if last.len() + 1 + id.len() <= MESSAGE_BYTES => {
                last.push(' ');
                last.push_str(id);
            }
            _ => messages.push(format!("{start} {id}")),
        }
    }
    messages
}

/// This replica's part in the conversation.
pub struct Replicas {
    hub: Hub,
    /// What it calls itself; different from all others.
    name: String,
}

impl Replicas {
    /// A replica with a name of its own.
    pub const fn new(hub: Hub, name: String) -> Self {
        Self { hub, name }
    }

    /// Tells and listens until the shutdown. Returns at once where there can be only one replica.
    pub async fn run(self) {
        let inner = self.hub.inner();
        if !inner.store.carries_messages() {
            return;
        }
        let work = async { tokio::join!(self.listen(), self.say_hello(), self.tell()) };
        tokio::select! {
            () = inner.shutdown.cancelled() => {}
            _ = work => {}
        }
    }

    fn inner(&self) -> &Inner {
        self.hub.inner()
    }

    /// Listens, on a new connection whenever the old one is lost or says nothing any more.
    async fn listen(&self) {
        loop {
            if let Ok(listener) = self.inner().store.listen().await {
                self.say(format!("ask {}", self.name)).await;
                if let Err(error) = self.hear(listener).await {
                    tracing::debug!(%error, "cannot hear other replicas");
                }
            }
            self.inner().hears.store(false, Ordering::Release);
            tokio::time::sleep(AGAIN).await;
        }
    }

    async fn hear(&self, mut listener: Listener) -> Result<(), StoreError> {
        let mut others: Option<Instant> = None;
        loop {
            let Ok(heard) = tokio::time::timeout(COUNTS, listener.next()).await else {
                // Not even its own hello.
                return Ok(());
            };
            let Some(text) = heard? else { return Ok(()) };
            match Message::parse(&text) {
                Some(Message::Hello { replica, .. }) if replica == self.name => {
                    self.inner().hears.store(true, Ordering::Release);
                }
                // Its own is answered too: so it hears whether it is heard.
                Some(Message::Ask { .. }) => self.inner().first_watcher.notify_one(),
                Some(Message::Hello { watched: true, .. }) => others = Some(Instant::now()),
                Some(Message::Grew { replica, organizations }) if replica != self.name => {
                    let named = organizations.into_iter().map(OrganizationId::from_stored);
                    self.hub.look_at_named(named).await?;
                }
                _ => {}
            }
            let watch = others.is_some_and(|last| last.elapsed() < COUNTS);
            self.inner().others_watch.store(watch, Ordering::Release);
        }
    }

    /// Says now and then, and when the first watcher comes, whether anybody watches here.
    async fn say_hello(&self) {
        loop {
            let watched = if self.hub.watchers() > 0 { "yes" } else { "no" };
            self.say(format!("hello {} {watched}", self.name)).await;
            let _ = tokio::time::timeout(HELLO, self.inner().first_watcher.notified()).await;
        }
    }

    async fn say(&self, message: String) {
        self.say_all(vec![message]).await;
    }

    /// Whether it got through does not matter.
    async fn say_all(&self, messages: Vec<String>) {
        if let Err(error) = self.inner().store.tell(messages).await {
            tracing::debug!(%error, "cannot tell other replicas");
        }
    }

    /// Tells which logs this replica wrote to, while another has watchers.
    async fn tell(&self) {
        loop {
            self.inner().wake_teller.notified().await;
            let untold: HashSet<_> = std::mem::take(&mut *lock(&self.inner().untold));
            self.say_all(grown(&self.name, untold.into_iter())).await;
            tokio::time::sleep(TELL_PACE).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_understood() {
        let hello = Message::parse("hello a yes");
        assert_eq!(hello, Some(Message::Hello { replica: "a", watched: true }));
        let hello = Message::parse("hello a no");
        assert_eq!(hello, Some(Message::Hello { replica: "a", watched: false }));
        assert_eq!(Message::parse("ask a"), Some(Message::Ask { replica: "a" }));
        for strange in ["", "hello", "hello a", "howdy a b"] {
            assert_eq!(Message::parse(strange), None, "{strange}");
        }
    }

    #[test]
    fn many_logs_take_several_messages() {
        let ids: Vec<String> = (0..1_000).map(|id| format!("organization_{id}")).collect();
        let organizations = ids.iter().map(OrganizationId::from_stored);
        let messages = grown("replica", organizations);
        assert!(messages.len() > 1);
        let mut told = Vec::new();
        for message in &messages {
            assert!(message.len() <= MESSAGE_BYTES);
            let Some(Message::Grew { replica: "replica", organizations }) = Message::parse(message)
            else {
                panic!("{message}")
            };
            told.extend(organizations);
        }
        assert_eq!(told, ids);
    }
}
