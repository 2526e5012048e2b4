//! What is served over plain HTTP on the same port, and what every answer over HTTP has in common.

pub mod download;
pub mod error_body;
pub mod health;
pub mod json;
pub mod path;
pub mod refusal;
pub mod timeout;
pub mod tlog;
