//! The words of the product and their rules. Pure: no I/O, no clock of its own, no database, no
//! transport. May be used from anywhere and uses nothing of ours but `merkle`.

pub mod action_schema;
pub mod api_key;
pub mod caller;
pub mod canonical;
pub mod canonical_read;
pub mod clock;
pub mod destination;
pub mod destination_check;
pub mod event;
pub mod event_draft;
pub mod export;
pub mod filter;
pub mod idempotency;
pub mod ids;
pub mod json_schema;
pub mod limits;
pub mod log_stream;
pub mod organization;
pub mod organization_draft;
pub mod page;
pub mod permissions;
pub mod retention;
pub mod schema_check;
pub mod source;
pub mod timestamp;
pub mod violation;
