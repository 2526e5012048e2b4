//! What runs beside the calls.

pub mod checkpoints;
pub mod export;
mod export_attempt;
mod export_encoder;
pub mod forward;
pub mod housekeeping;
pub mod key_uses;
pub mod retention;
