//! Each destination, driven as the service drives it, against a receiver.

mod otlp;
mod outgoing;
mod syslog;
