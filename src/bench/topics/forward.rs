//! Log streams: one that catches up, one that waits for single events, and many at once.

use std::{
    fmt::Write,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use reqwest::{Certificate, Client as HttpClient};

use super::{
    super::{
        arena::{Arena, Ground},
        load::{Measurement, Rounds, number},
        receiver::Receiver,
        report::{Goal, Section, grouped, mebibytes, milliseconds, times},
    },
    long_log::fill,
};
use crate::{
    client::{LogStreams, explain},
    proto::v1::{
        GenericHttpsDestination, LogStreamDestination, LogStreamsCreateRequest,
        LogStreamsDeleteRequest, log_stream_destination::Kind, log_streams_create_request::Start,
    },
};

/// What a stream must reach of the receiver's own ceiling, and in any case.
const OF_CEILING: f64 = 0.7;
const LEAST_RATE: f64 = 20_000.0;
/// What the 99th percentile from receipt to delivery may be, in microseconds.
const BOUND_MICROS: f64 = 1_000_000.0;
/// Single events whose delivery is timed, and how far they are apart.
const SINGLES: usize = 200;
const APART: Duration = Duration::from_millis(20);
/// What many streams may take.
const MOST_MEBIBYTES: f64 = 200.0;
/// How often to look whether everything has arrived.
const LOOK: Duration = Duration::from_millis(5);
/// How long it may take.
const PATIENCE: Duration = Duration::from_mins(2);

/// Measures.
pub async fn run(ground: &Ground) -> Result<Section> {
    let arena = ground.arena("forward").await?;
    let receiver = Receiver::start().await?;
    let mut section = Section {
        title: "Log streams".to_owned(),
        note: "One stream to an HTTPS receiver in the process of the benchmark, which reads every body \
               as JSON. Ceiling: the same body posted to the same receiver again and again, one request \
               after the other, as the order of a log demands of a stream too; client, server, \
               database and receiver share the machine. Single events: from their receipt by the service until the receiver has them."
            .to_owned(),
        header: vec!["situation", "events/s", "p50", "p99", "ceiling", ": ceiling"],
        ..Default::default()
    };
    catching_up(&arena, &receiver, &mut section).await?;
    single_events(&arena, &receiver, &mut section).await?;
    many(&arena, &receiver, &mut section).await?;
    arena.close().await?;
    Ok(section)
}

/// Lets a stream forward a log from its beginning, beside what the receiver can take.
async fn catching_up(arena: &Arena<'_>, receiver: &Receiver, section: &mut Section) -> Result<()> {
    fill(arena, arena.ground.plan.forwarded_events).await?;
    let (mut ours, mut ceilings) = (Rounds::default(), Rounds::default());
    for round in 1..=arena.ground.plan.rounds {
        let what = format!("{}: a stream that catches up, round {round}", arena.ground.backend);
        arena.ground.progress.say(&what);
        ours.0.push(forward_all(arena, receiver).await?);
        ceilings.0.push(ceiling(arena, receiver).await?);
    }
    section.rows.push(vec![
        "a stream that catches up".to_owned(),
        grouped(ours.rate()),
        String::new(),
        String::new(),
        grouped(ceilings.rate()),
        times(ours.rate(), ceilings.rate()),
    ]);
    let what = "One log stream: events/s to the ceiling of its receiver";
    section.goals.push(Goal::at_least(what, ours.rate(), ceilings.rate(), OF_CEILING));
    let what = "One log stream: events/s to 20,000";
    section.goals.push(Goal::at_least(what, ours.rate(), LEAST_RATE, 1.0));
    section.point("log stream", "catching up", &ours);
    section.point("ceiling", "catching up", &ceilings);
    Ok(())
}

async fn forward_all(arena: &Arena<'_>, receiver: &Receiver) -> Result<Measurement> {
    let before = receiver.events();
    let mut streams = arena.server.client().log_streams();
    let id = create(arena, &mut streams, receiver, 0, Some(Start::FromSequence(0))).await?;
    // From the first batch on, so that the time until the stream is leased does not count.
    until(|| receiver.events() > before).await?;
    let (began, first) = (Instant::now(), receiver.events());
    let all = arena.ground.plan.forwarded_events;
    until(|| receiver.events() >= before + all).await?;
    let measured = measurement(receiver.events() - first, began.elapsed());
    delete(&mut streams, id).await?;
    Ok(measured)
}

/// How fast the receiver takes the largest batch that it got.
async fn ceiling(arena: &Arena<'_>, receiver: &Receiver) -> Result<Measurement> {
    let body = receiver.largest_body();
    let certificate = Certificate::from_pem(receiver.certificate.as_bytes())?;
    let before = receiver.events();
    let (began, measured) = (Instant::now(), arena.ground.plan.timing.measured);
    let client = HttpClient::builder().tls_certs_merge([certificate]).no_proxy().build()?;
    while began.elapsed() < measured {
        let request = client.post(&receiver.url).header("content-type", "application/json");
        let answer = request.body(body.clone()).send().await?;
        ensure!(answer.status().is_success(), "the receiver said {}", answer.status());
    }
    Ok(measurement(receiver.events() - before, began.elapsed()))
}

/// Sends events one by one and sees when they arrive.
async fn single_events(
    arena: &Arena<'_>,
    receiver: &Receiver,
    section: &mut Section,
) -> Result<()> {
    arena.ground.progress.say(&format!("{}: single events", arena.ground.backend));
    let mut streams = arena.server.client().log_streams();
    let id = create(arena, &mut streams, receiver, 1, None).await?;
    let mut client = arena.server.client().audit_logs();
    let organization = &arena.ground.sample.organizations()[1];
    let mut send = async || {
        let request = arena.ground.sample.message(organization);
        let sent = client.create_event(request).await;
        sent.map_err(|status| anyhow!(explain(&status)))
    };
    let before = receiver.events();
    send().await?;
    until(|| receiver.events() > before).await?;
    receiver.count_delays();
    let before = receiver.events();
    for _ in 0..SINGLES {
        send().await?;
        tokio::time::sleep(APART).await;
    }
    until(|| receiver.events() >= before + SINGLES as u64).await?;
    let mut delays = receiver.delays();
    delays.sort_unstable();
    let percentile = |percent: usize| {
        let rank = (delays.len() * percent).div_ceil(100);
        f64::from(delays.get(rank.saturating_sub(1)).copied().unwrap_or_default())
    };
    section.rows.push(vec![
        "single events, 50 a second".to_owned(),
        String::new(),
        milliseconds(percentile(50)),
        milliseconds(percentile(99)),
        String::new(),
        String::new(),
    ]);
    let what = "Single events: p99 from receipt to delivery, to 1 s";
    section.goals.push(Goal::at_most(what, percentile(99), BOUND_MICROS, 1.0));
    delete(&mut streams, id).await
}

/// Has many streams forward an event a second each.
async fn many(arena: &Arena<'_>, receiver: &Receiver, section: &mut Section) -> Result<()> {
    let count = arena.ground.plan.log_streams;
    arena.ground.progress.say(&format!("{}: {count} streams", arena.ground.backend));
    let mut streams = arena.server.client().log_streams();
    for number in 0..count {
        create(arena, &mut streams, receiver, number, None).await?;
    }
    let seconds = arena.ground.plan.idle_seconds;
    let organizations = arena.ground.sample.organizations();
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / u32::try_from(count)?);
    let mut client = arena.server.client().audit_logs();
    let before = receiver.events();
    // A first round, in which connections are made.
    let mut sent = 0;
    let mut round = async |rounds: u64| {
        for _ in 0..rounds {
            for organization in &organizations[..count] {
                ticks.tick().await;
                let request = arena.ground.sample.message(organization);
                let answer = client.create_event(request).await;
                answer.map_err(|status| anyhow!(explain(&status)))?;
                sent += 1;
            }
        }
        anyhow::Ok(sent)
    };
    round(1).await?;
    let (busy, began) = (arena.server.process.processor_time()?, Instant::now());
    let sent: u64 = round(seconds).await?;
    let busy = arena.server.process.processor_time()?.saturating_sub(busy);
    let cores = busy.as_secs_f64() / began.elapsed().as_secs_f64();
    until(|| receiver.events() >= before + sent).await?;
    let (memory, most) = arena.server.process.memory()?;
    let mebi = |bytes: u64| number(bytes) / 1_048_576.0;
    write!(
        section.note,
        "\n\n{count} streams with an event a second each: {:.1} % of a processor, CreateEvent among \
         it; resident memory {} (at most {}).",
        100.0 * cores,
        mebibytes(number(memory)),
        mebibytes(number(most)),
    )?;
    let what = format!("{count} log streams with an event a second each: processors, to one");
    section.goals.push(Goal::at_most(what, cores, 1.0, 1.0));
    let what = format!("{count} log streams with an event a second each: memory, to 200 MiB");
    section.goals.push(Goal::at_most(what, mebi(most), MOST_MEBIBYTES, 1.0));
    Ok(())
}

async fn create(
    arena: &Arena<'_>,
    streams: &mut LogStreams,
    receiver: &Receiver,
    organization: usize,
    start: Option<Start>,
) -> Result<String> {
    let kind = Kind::GenericHttps(GenericHttpsDestination {
        url: receiver.url.clone(),
        ..Default::default()
    });
    let request = LogStreamsCreateRequest {
        organization_id: arena.ground.sample.organizations()[organization].clone(),
        destination: Some(LogStreamDestination {
            kind: Some(kind),
            ca_certificates_pem: receiver.certificate.clone(),
        }),
        start,
        ..Default::default()
    };
    let created = streams.create(request).await.map_err(|status| anyhow!(explain(&status)))?;
    Ok(created.into_inner().log_stream.context("no log stream")?.id)
}

async fn delete(streams: &mut LogStreams, log_stream_id: String) -> Result<()> {
    let request = LogStreamsDeleteRequest { log_stream_id };
    streams.delete(request).await.map_err(|status| anyhow!(explain(&status)))?;
    Ok(())
}

async fn until(seen: impl Fn() -> bool) -> Result<()> {
    let began = Instant::now();
    while !seen() {
        ensure!(began.elapsed() < PATIENCE, "what was sent did not arrive");
        tokio::time::sleep(LOOK).await;
    }
    Ok(())
}

fn measurement(events: u64, elapsed: Duration) -> Measurement {
    let seconds = elapsed.as_secs_f64();
    let per_second = number(events) / seconds;
    Measurement { calls: 0, events, seconds, per_second, p50_micros: 0, p99_micros: 0 }
}
