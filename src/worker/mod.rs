//! What runs beside the calls.

pub mod checkpoints;
pub mod export;
pub mod housekeeping;
