//! Where events can be sent: a file for each kind of destination.

pub(super) mod otlp;
pub(super) mod syslog;
