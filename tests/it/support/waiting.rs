//! Waiting for what must happen, instead of for some time.

use std::time::{Duration, Instant};

/// Nothing that the tests wait for takes longer, however busy the machine is.
const PATIENCE: Duration = Duration::from_mins(1);
const BETWEEN_LOOKS: Duration = Duration::from_millis(10);

/// Looks until there is something to see, or fails the test.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(start.elapsed() < PATIENCE, "this did not happen in time: {what}");
        tokio::time::sleep(BETWEEN_LOOKS).await;
    }
}
