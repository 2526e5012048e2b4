//! Each destination, driven as the service drives it, against a receiver.

mod outgoing;
mod syslog;
