//! `verify`, without a server.

mod database;
mod evidence;
mod export;
pub mod receipt;
