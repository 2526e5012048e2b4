//! Checks what the service says against the Merkle trees, without the service: receipts, and whole
//! logs as a database has them. Everything here works on values that others have read.

pub mod database;
pub mod event;
pub mod export;
pub mod keys;
pub mod log;
pub mod receipt;

pub use database::DatabaseVerifier;
pub use keys::TrustedKeys;
