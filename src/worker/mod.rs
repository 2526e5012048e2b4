//! What runs beside the calls.

pub mod checkpoints;
pub mod export;
mod export_file;
pub mod housekeeping;
pub mod retention;
