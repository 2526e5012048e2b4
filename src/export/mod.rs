//! Encoding exports and keeping their files.

pub mod csv;
pub mod files;
