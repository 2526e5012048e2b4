//! One sea-orm entity per table. Queries of tenant data start from `scoped`.

pub mod action;
pub mod action_schema;
pub mod api_key;
pub mod checkpoint;
pub mod environment;
pub mod event;
pub mod export;
pub mod idempotency_key;
pub mod log_head;
pub mod log_retention;
pub mod log_stream;
pub mod log_stream_dead_letter;
pub mod log_tile;
pub mod organization;
pub mod signing_key;
