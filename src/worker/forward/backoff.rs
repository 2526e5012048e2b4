//! When a stream whose try failed tries again: exponential with full jitter, so that streams that failed
//! together do not come back together.

use std::time::Duration;

use rand::{Rng, RngExt};

use crate::forward::FailureKind;

/// The first and the longest wait after a failure that may pass.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(5);
/// The same where only another configuration helps, or the same credentials once they are valid again.
const FIRST_INVALID: Duration = Duration::from_secs(15);
const LONGEST_INVALID: Duration = Duration::from_mins(15);
/// No wait is shorter.
const LEAST: Duration = Duration::from_millis(100);
/// Doublings after which the longest wait is reached anyway.
const DOUBLINGS: u32 = 16;

/// How long to wait after so many failures in a row, at least one.
pub(super) fn wait(kind: &FailureKind, failures: u32, random: &mut impl Rng) -> Duration {
    let (first, longest) = match kind {
        FailureKind::Invalid => (FIRST_INVALID, LONGEST_INVALID),
        _ => (FIRST, LONGEST),
    };
    let doublings = failures.saturating_sub(1).min(DOUBLINGS);
    let most = first.saturating_mul(1 << doublings).min(longest);
    let jittered = most.mul_f64(random.random::<f64>()).max(LEAST);
    match kind {
        // The destination's own wish counts, however long.
        FailureKind::Temporary { retry_after: Some(wished) } => jittered.max(*wished),
        _ => jittered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPORARY: FailureKind = FailureKind::Temporary { retry_after: None };

    #[test]
    fn waits_grow_up_to_a_bound_and_are_spread() {
        let mut random = rand::rng();
        for failures in [1, 2, 5, 50, u32::MAX] {
            let most = FIRST.saturating_mul(1 << (failures - 1).min(16)).min(LONGEST);
            let waits: Vec<_> = (0..200).map(|_| wait(&TEMPORARY, failures, &mut random)).collect();
            assert!(waits.iter().all(|wait| (LEAST..=most).contains(wait)));
            let spread = waits.iter().max().unwrap().saturating_sub(*waits.iter().min().unwrap());
            assert!(spread > most / 2, "{failures}: {spread:?}");
        }
    }

    #[test]
    fn the_wish_of_the_destination_counts() {
        let wished = Duration::from_secs(1_000);
        let kind = FailureKind::Temporary { retry_after: Some(wished) };
        assert_eq!(wait(&kind, 1, &mut rand::rng()), wished);
    }
}
