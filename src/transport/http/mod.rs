//! What is served over plain HTTP on the same port.

pub mod download;
pub mod health;
pub mod tlog;
