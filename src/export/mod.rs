//! Encoding exports and keeping their files.

pub mod csv;
pub mod files;
pub mod json_lines;
pub mod manifest;
pub mod upload;
