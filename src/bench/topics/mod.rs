//! What is measured: a file per topic.

pub mod batch;
pub mod create;
pub mod export;
pub mod long_log;
pub mod memory;
pub mod organizations;
pub mod receipts;
