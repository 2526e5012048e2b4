//! Each destination, driven as the service drives it, against a receiver.

#[cfg(feature = "kafka")]
mod kafka;
mod otlp;
mod outgoing;
mod syslog;
