//! What is measured: a file per topic.

pub mod batch;
pub mod create;
pub mod export;
pub mod forward;
pub mod ingest;
pub mod long_log;
pub mod memory;
pub mod organizations;
pub mod receipts;
pub mod start;
pub mod telemetry;
pub mod tls;
pub mod watch;

use anyhow::Result;

use super::load::Measurement;

/// The number with which one try had the highest rate.
async fn best(
    numbers: &[usize],
    measure: impl AsyncFn(usize) -> Result<Measurement>,
) -> Result<usize> {
    let (mut best, mut highest) = (1, 0.0);
    for number in numbers {
        let rate = measure(*number).await?.per_second;
        if rate > highest {
            (best, highest) = (*number, rate);
        }
    }
    Ok(best)
}
