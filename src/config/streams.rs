//! Settings of streams.

use serde::{Deserialize, Serialize};

/// Streams of events, in and out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamSettings {
    /// How long a client may take nothing while something waits for it.
    pub slow_reader_seconds: u32,
    /// Whether replicas on PostgreSQL tell each other at once what they wrote (LISTEN and NOTIFY, over a
    /// connection of its own). Otherwise a watcher hears of it a second later.
    pub listen: bool,
    /// How many may watch logs at a time, on one replica.
    pub watchers: u32,
    /// The same with one key.
    pub watchers_per_key: u32,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self { slow_reader_seconds: 60, listen: true, watchers: 20_000, watchers_per_key: 10_000 }
    }
}

impl StreamSettings {
    /// The name of a setting that is zero and must not be.
    pub(super) fn zero(&self) -> Option<&'static str> {
        [
            ("streams.slow_reader_seconds", self.slow_reader_seconds),
            ("streams.watchers", self.watchers),
            ("streams.watchers_per_key", self.watchers_per_key),
        ]
        .into_iter()
        .find_map(|(name, value)| (value == 0).then_some(name))
    }
}
