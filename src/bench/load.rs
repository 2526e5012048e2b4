//! Closed-loop load: so many callers, each of which waits for its answer before it calls again.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::task::JoinSet;

use super::plan::Timing;

/// A caller.
pub trait Caller: Send + 'static {
    /// Makes one call; returns how many events it stored.
    fn call(&mut self) -> impl Future<Output = Result<u64>> + Send;
}

/// What one run of load showed.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Measurement {
    /// Calls that ended in the measured time.
    pub calls: usize,
    /// Events that they stored.
    pub events: u64,
    /// The measured time.
    pub seconds: f64,
    /// Events per second.
    pub per_second: f64,
    /// Median time of a call, in microseconds.
    pub p50_micros: u32,
    /// 99th percentile of the time of a call, in microseconds.
    pub p99_micros: u32,
}

/// The rounds of one contender; its figures are medians over them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Rounds(pub Vec<Measurement>);

impl Rounds {
    /// Events per second.
    pub fn rate(&self) -> f64 {
        self.median(|round| round.per_second)
    }

    /// Median time of a call, in microseconds.
    pub fn p50(&self) -> f64 {
        self.median(|round| f64::from(round.p50_micros))
    }

    /// 99th percentile of the time of a call, in microseconds.
    pub fn p99(&self) -> f64 {
        self.median(|round| f64::from(round.p99_micros))
    }

    fn median(&self, figure: impl Fn(&Measurement) -> f64) -> f64 {
        let mut figures: Vec<_> = self.0.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or_default()
    }
}

/// A count as a number to calculate with.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
pub const fn number(count: u64) -> f64 {
    count as f64
}

/// The calls of one caller: when each ended, how long it took, what it stored.
type Calls = Vec<(Duration, Duration, u64)>;

/// Runs all callers side by side for the warm-up and the measured time. A call counts if it ended
/// within the measured time. The first error ends everything.
pub async fn drive(
    callers: impl IntoIterator<Item = impl Caller>,
    timing: Timing,
) -> Result<Measurement> {
    let start = Instant::now();
    let end = timing.warm_up + timing.measured;
    let mut tasks = JoinSet::new();
    for mut caller in callers {
        tasks.spawn(async move {
            let mut calls = Calls::new();
            loop {
                let began = start.elapsed();
                if began >= end {
                    return anyhow::Ok(calls);
                }
                let events = caller.call().await?;
                let ended = start.elapsed();
                if ended >= timing.warm_up {
                    calls.push((ended, ended.saturating_sub(began), events));
                }
            }
        });
    }
    let mut calls = Calls::new();
    while let Some(ended) = tasks.join_next().await {
        calls.extend(ended.context("a caller failed")??);
    }
    Ok(summary(&calls, timing))
}

fn summary(calls: &Calls, timing: Timing) -> Measurement {
    let end = timing.warm_up + timing.measured;
    let counted = || calls.iter().filter(|(ended, ..)| *ended <= end);
    let mut times: Vec<_> =
        counted().map(|(_, took, _)| u32::try_from(took.as_micros()).unwrap_or(u32::MAX)).collect();
    times.sort_unstable();
    let percentile = |percent: usize| {
        // The nearest rank: the smallest time that so many percent of all do not exceed.
        let rank = (times.len() * percent).div_ceil(100);
        times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    };
    let events = counted().map(|(.., events)| events).sum();
    let seconds = timing.measured.as_secs_f64();
    Measurement {
        calls: times.len(),
        events,
        seconds,
        per_second: number(events) / seconds,
        p50_micros: percentile(50),
        p99_micros: percentile(99),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_ended_in_time() {
        let ms = Duration::from_millis;
        let timing = Timing { warm_up: ms(100), measured: ms(1_000) };
        let mut calls: Calls = (1..=100).map(|n| (ms(100 + n), ms(n), 2)).collect();
        calls.push((ms(1_101), ms(900), 2));
        let found = summary(&calls, timing);
        assert_eq!((found.calls, found.events), (100, 200));
        assert_eq!((found.p50_micros, found.p99_micros), (50_000, 99_000));
        assert!((found.per_second - 200.0).abs() < f64::EPSILON);
        assert_eq!(summary(&Calls::new(), timing).p99_micros, 0);
    }

    #[test]
    fn figures_are_medians() {
        let round = |p50_micros| Measurement { p50_micros, ..Default::default() };
        let rounds = Rounds([3, 1, 2].map(round).to_vec());
        assert!((rounds.p50() - 2.0).abs() < f64::EPSILON);
        assert!(Rounds::default().rate() < f64::EPSILON);
    }
}
