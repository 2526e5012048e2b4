//! Settings of what connections and calls may take.

use serde::{Deserialize, Serialize};

use super::SettingsError;

/// What connections and calls may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitSettings {
    /// Most bytes of one gRPC message that is sent to the service.
    pub message_bytes: u32,
    /// Most bytes of the headers of one request: over HTTP/2 as RFC 9113 counts them (section 6.5.2), over
    /// HTTP/1.1 with the request line.
    pub header_bytes: u32,
    /// Most headers of one request over HTTP/1.1.
    pub headers: u32,
    /// Most calls at a time on one HTTP/2 connection.
    pub streams_per_connection: u32,
    /// Most calls that are worked on at a time.
    pub concurrent_requests: u32,
    /// Most streams and downloads, which may last, that are open at a time.
    pub concurrent_streams: u32,
    /// Most connections at a time.
    pub connections: u32,
    /// Most connections at a time from one address.
    pub connections_per_address: u32,
    /// Most calls of one key in a minute, other than those that write events; 0 for no limit.
    pub requests_per_minute: u32,
    /// Most calls of one key in a minute that write events; 0 for no limit but the queues.
    pub event_requests_per_minute: u32,
    /// How long the TLS handshake may take, and then the first bytes of HTTP.
    pub handshake_seconds: u32,
    /// How long the headers of a request may take over HTTP/1.1; a connection that is idle for so long is
    /// closed.
    pub header_seconds: u32,
    /// How long the body of a request, or the message of a call that has one, may take.
    pub body_seconds: u32,
    /// How long a client may not take what waits in an answer for it; then its connection is closed.
    pub answer_seconds: u32,
    /// How often a silent peer is asked whether it is still there.
    pub keepalive_seconds: u32,
    /// How long an HTTP/2 connection may have no call; 0 for as long as it likes.
    pub idle_seconds: u32,
    /// How old a connection may become before its client is asked to make another; 0 for any age.
    pub connection_age_seconds: u32,
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            message_bytes: 4 * 1_024 * 1_024,
            header_bytes: 32 * 1_024,
            headers: 100,
            streams_per_connection: 1_024,
            concurrent_requests: 4_096,
            concurrent_streams: 25_000,
            connections: 10_000,
            connections_per_address: 2_000,
            requests_per_minute: 6_000,
            event_requests_per_minute: 0,
            handshake_seconds: 10,
            header_seconds: 75,
            body_seconds: 20,
            answer_seconds: 120,
            keepalive_seconds: 30,
            idle_seconds: 900,
            connection_age_seconds: 0,
        }
    }
}

/// Least and most of what has bounds; the other settings must be at least 1, or are off with 0.
const MESSAGE_BYTES: (u32, u32) = (64 * 1_024, 64 * 1_024 * 1_024);
const HEADER_BYTES: (u32, u32) = (8_192, 1_024 * 1_024);
/// Less than the time that a whole request over HTTP may take, which is 30 s.
const BODY_SECONDS: (u32, u32) = (1, 28);

impl LimitSettings {
    pub(super) fn validate(&self) -> Result<(), SettingsError> {
        let table = [
            ("limits.message_bytes", self.message_bytes, MESSAGE_BYTES),
            ("limits.header_bytes", self.header_bytes, HEADER_BYTES),
            ("limits.headers", self.headers, (16, 1_000)),
            ("limits.streams_per_connection", self.streams_per_connection, (1, 1_000_000)),
            ("limits.concurrent_requests", self.concurrent_requests, (1, 1_000_000)),
            ("limits.concurrent_streams", self.concurrent_streams, (1, 1_000_000)),
            ("limits.connections", self.connections, (1, 1_000_000)),
            ("limits.connections_per_address", self.connections_per_address, (1, 1_000_000)),
            ("limits.handshake_seconds", self.handshake_seconds, (1, 300)),
            ("limits.header_seconds", self.header_seconds, (1, 3_600)),
            ("limits.body_seconds", self.body_seconds, BODY_SECONDS),
            ("limits.answer_seconds", self.answer_seconds, (1, 3_600)),
            ("limits.keepalive_seconds", self.keepalive_seconds, (1, 3_600)),
        ];
        for (name, value, (least, most)) in table {
            if !(least..=most).contains(&value) {
                let why = format!("it must be {least} to {most}");
                return Err(SettingsError::impossible(name, &why));
            }
        }
        Ok(())
    }
}
