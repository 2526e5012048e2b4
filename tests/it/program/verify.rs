//! `verify`, without a server.

mod database;
mod evidence;
pub mod receipt;
