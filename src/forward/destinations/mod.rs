//! Where events can be sent: a file for each kind of destination.

#[cfg(feature = "kafka")]
pub(super) mod kafka;
pub(super) mod otlp;
pub(super) mod syslog;
