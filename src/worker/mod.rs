//! What runs beside the calls.

pub mod export;
pub mod housekeeping;
