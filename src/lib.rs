//! A self-hosted audit-log service: who did what to which resource, when, from where; validated,
//! exportable and durable.
//!
//! Data flows one way: [`transport`] converts and calls [`service`], which holds the rules and
//! calls [`store`], where database drivers stop. [`domain`] and [`merkle`] are pure and may be used
//! from anywhere. [`worker`] stands beside the transports; [`export`] encodes and keeps files.
//! [`verify`] checks what was recorded against the Merkle trees.
//! [`app`] puts it all together; [`cli`] is the command line, [`client`], [`demo`] and
//! [`mod@bench`] its other side.

pub mod app;
pub mod bench;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
mod directory;
pub mod domain;
pub mod export;
pub mod forward;
pub mod merkle;
pub mod proto;
pub mod service;
mod signing_key;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod transport;
pub mod verify;
pub mod worker;
