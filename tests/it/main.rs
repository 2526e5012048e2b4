//! The suite: every promise, through a real client over a socket, on every engine.
//!
//! SQLite always runs. PostgreSQL runs where a server can be started (`initdb` is found) or is
//! named by `AUDIT_LOGS_TEST_POSTGRES_URL`; with `AUDIT_LOGS_TEST_POSTGRES=required` its absence is
//! a failure. The same holds for moto, an S3 server (`just moto`), and `AUDIT_LOGS_TEST_S3`, and for
//! what takes log streams (`just receivers`), and `AUDIT_LOGS_TEST_RECEIVERS`. One binary, so that
//! there is one PostgreSQL server and one link.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod support;

mod abuse;
mod actions;
mod api_keys;
mod architecture;
mod backup;
mod batch;
mod contract;
mod destinations;
mod durability;
mod events;
mod export_jobs;
mod export_reading;
mod exports;
mod idempotency;
mod ingest;
mod lanes;
mod limits;
mod listing;
mod log_streams;
mod object_store;
mod observability;
mod operations;
mod organizations;
mod program;
mod properties;
mod receivers;
mod refusals;
mod rest;
mod retention;
mod system_log;
mod tenancy;
mod tls;
mod torture;
mod transparency;
mod upgrades;
mod watch;
