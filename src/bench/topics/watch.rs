//! Watchers: how soon they are told, and what they cost while nothing happens.

use std::{
    fmt::Write,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};
use tokio::task::JoinSet;
use tonic::Streaming;

use super::super::{
    arena::{Arena, Ground},
    load::{Measurement, Rounds, number},
    report::{Goal, Section, grouped, mebibytes, milliseconds},
};
use crate::{
    client::{AuditLogs, Client, explain},
    domain::clock::{Clock, SystemClock},
    proto::v1::{
        WatchEventsRequest, WatchEventsResponse, watch_events_request::Start,
        watch_events_response::Content,
    },
};

/// Watchers that are told of every event.
const WATCHERS: usize = 100;
/// Events a second, over all logs.
const RATE: u64 = 1_000;
/// What the 99th percentile may be, in microseconds.
const BOUND_MICROS: f64 = 20_000.0;
/// Watchers of one connection: a server takes 1,024 calls on each.
const PER_CONNECTION: usize = 1_000;
/// How long a server rests before its memory counts.
const REST: Duration = Duration::from_secs(1);

/// Measures.
pub async fn run(ground: &Ground) -> Result<Section> {
    let arena = ground.arena("watch").await?;
    let mut section = Section {
        title: "Watchers".to_owned(),
        note: format!(
            "WatchEvents with {WATCHERS} watchers and {} events/s by CreateEvent. Times run from \
             the receipt of an event by the service (`created_at`) until a watcher has it, so they \
             have the commit in them; \"alone\" is CreateEvent at that rate without watchers. Idle: \
             watchers of logs in which nothing happens; processor time of the server over {} s.",
            grouped(number(RATE)),
            ground.plan.idle_seconds,
        ),
        header: vec!["situation", "events/s told", "p50", "p99", "CreateEvent p50", "p99"],
        ..Default::default()
    };
    for (situation, organizations, watchers) in [
        ("alone", 1, 0),
        ("100 watchers of one organization", 1, WATCHERS),
        ("100 watchers of 100 organizations", WATCHERS, WATCHERS),
    ] {
        let (mut told, mut written) = (Rounds::default(), Rounds::default());
        for round in 1..=ground.plan.rounds {
            let what = format!("{}: watch, {situation}, round {round}", ground.backend);
            ground.progress.say(&what);
            let (delivered, created) = race(&arena, organizations, watchers).await?;
            told.0.push(delivered);
            written.0.push(created);
        }
        note(&mut section, situation, &told, &written);
    }
    idle(&arena, &mut section).await?;
    arena.close().await?;
    Ok(section)
}

fn note(section: &mut Section, situation: &str, told: &Rounds, written: &Rounds) {
    let watched = told.0.iter().any(|round| round.calls > 0);
    let of_told = |text: String| if watched { text } else { String::new() };
    section.rows.push(vec![
        situation.to_owned(),
        of_told(grouped(told.rate())),
        of_told(milliseconds(told.p50())),
        of_told(milliseconds(told.p99())),
        milliseconds(written.p50()),
        milliseconds(written.p99()),
    ]);
    section.point("CreateEvent", situation, written);
    if watched {
        section.point("WatchEvents", situation, told);
        let what = format!("{situation}: p99 from receipt to delivery, to 20 ms");
        section.goals.push(Goal::at_most(what, told.p99(), BOUND_MICROS, 1.0));
    }
}

/// What the watchers of a round saw.
#[derive(Default)]
struct Notes {
    /// Microseconds from receipt to delivery.
    delays: Mutex<Vec<u32>>,
    /// Whether it counts.
    counts: AtomicBool,
}

/// Writes at the rate to so many organizations, and has so many watchers told.
async fn race(
    arena: &Arena<'_>,
    organizations: usize,
    watchers: usize,
) -> Result<(Measurement, Measurement)> {
    let notes = Arc::new(Notes::default());
    let ids = &arena.ground.sample.organizations()[..organizations];
    let mut watching = JoinSet::new();
    for (number, client) in arena.server.callers(watchers).enumerate() {
        let frames = start(client, &ids[number % ids.len()], None).await?;
        watching.spawn(take_notes(frames, notes.clone()));
    }
    let created = write(arena, organizations, &notes.counts).await?;
    watching.shutdown().await;
    let mut delays =
        std::mem::take(&mut *notes.delays.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((summary(&mut delays, created.seconds), created))
}

/// Starts to watch; returns when the server has said where.
async fn start(
    mut client: AuditLogs,
    organization: &str,
    start: Option<Start>,
) -> Result<Streaming<WatchEventsResponse>> {
    let request = WatchEventsRequest {
        organization_id: organization.to_owned(),
        start,
        ..Default::default()
    };
    let frames = client.watch_events(request).await.map_err(|status| anyhow!(explain(&status)))?;
    let mut frames = frames.into_inner();
    frames.message().await?.context("a stream ended")?;
    Ok(frames)
}

async fn take_notes(mut frames: Streaming<WatchEventsResponse>, notes: Arc<Notes>) {
    while let Ok(Some(frame)) = frames.message().await {
        let Some(Content::Events(events)) = frame.content else { continue };
        if !notes.counts.load(Ordering::Relaxed) {
            continue;
        }
        let now = SystemClock.now().micros();
        let delays = events.events.iter().filter_map(|event| {
            let received = event.created_at.as_ref()?;
            let micros = received.seconds * 1_000_000 + i64::from(received.nanos / 1_000);
            u32::try_from(now - micros).ok()
        });
        notes.delays.lock().unwrap_or_else(PoisonError::into_inner).extend(delays);
    }
}

/// Sends an event every millisecond for the warm-up and the measured time, whether or not those before
/// are answered.
async fn write(
    arena: &Arena<'_>,
    organizations: usize,
    counts: &AtomicBool,
) -> Result<Measurement> {
    let timing = arena.ground.plan.timing;
    let load = arena.load(organizations);
    let clients: Vec<_> = arena.server.callers(WATCHERS).collect();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(RATE)?);
    let (began, mut calls, mut sent) = (Instant::now(), JoinSet::new(), 0);
    while began.elapsed() < timing.warm_up + timing.measured {
        ticks.tick().await;
        let counted = began.elapsed() >= timing.warm_up;
        counts.store(counted, Ordering::Relaxed);
        let mut client = clients[sent % clients.len()].clone();
        let request = load.request();
        sent += 1;
        calls.spawn(async move {
            let began = Instant::now();
            let answer = client.create_event(request).await;
            answer.map_err(|status| anyhow!(explain(&status)))?;
            let micros = u32::try_from(began.elapsed().as_micros()).unwrap_or(u32::MAX);
            anyhow::Ok(counted.then_some(micros))
        });
    }
    let mut times = Vec::new();
    while let Some(call) = calls.join_next().await {
        times.extend(call.context("a caller failed")??);
    }
    Ok(summary(&mut times, timing.measured.as_secs_f64()))
}

fn summary(times: &mut [u32], seconds: f64) -> Measurement {
    times.sort_unstable();
    let percentile = |percent: usize| {
        let rank = (times.len() * percent).div_ceil(100);
        times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
    };
    let events = times.len() as u64;
    Measurement {
        calls: times.len(),
        events,
        seconds,
        per_second: number(events) / seconds,
        p50_micros: percentile(50),
        p99_micros: percentile(99),
    }
}

/// Lets many watchers wait for what does not come.
async fn idle(arena: &Arena<'_>, section: &mut Section) -> Result<()> {
    let count = arena.ground.plan.idle_watchers;
    arena.ground.progress.say(&format!("{}: {count} idle watchers", arena.ground.backend));
    tokio::time::sleep(REST).await;
    let (before, _) = arena.server.process.memory()?;
    let connections = arena.server.connections(count.div_ceil(PER_CONNECTION)).await?;
    let heard = Arc::new(AtomicU64::new(0));
    let mut watching = JoinSet::new();
    let ids = arena.ground.sample.organizations();
    for number in 0..count {
        let client: &Client = &connections[number / PER_CONNECTION];
        let mut frames = start(client.audit_logs(), &ids[number % ids.len()], None).await?;
        let heard = heard.clone();
        watching.spawn(async move {
            while let Ok(Some(_)) = frames.message().await {
                heard.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    tokio::time::sleep(REST).await;
    let (with, _) = arena.server.process.memory()?;
    let (busy, began) = (arena.server.process.processor_time()?, Instant::now());
    tokio::time::sleep(Duration::from_secs(arena.ground.plan.idle_seconds)).await;
    let busy = arena.server.process.processor_time()?.saturating_sub(busy);
    let each = number(with.saturating_sub(before)) / number(count as u64) / 1_024.0;
    write!(
        section.note,
        "\n\n{} idle watchers: the server's resident memory grew from {} to {}, {each:.1} KiB each; it \
         was busy for {:.2} % of a processor and sent {} heartbeats.",
        grouped(number(count as u64)),
        mebibytes(number(before)),
        mebibytes(number(with)),
        100.0 * busy.as_secs_f64() / began.elapsed().as_secs_f64(),
        heard.load(Ordering::Relaxed),
    )?;
    watching.shutdown().await;
    Ok(())
}
