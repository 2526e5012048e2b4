//! Log streams and how they are doing.

use super::{
    super::values::{from_proto_time, to_proto_time},
    destinations,
};
use crate::{
    domain::log_stream::{DeadLetter, LogStream, LogStreamState, PayloadDraft, PayloadForm},
    proto::v1::{self, log_streams_create_request, log_streams_replay_request},
    service::{
        error::Error,
        log_streams::{LogStreamChanges, NewLogStream, StatusView, Trial},
        watch::WatchStart,
    },
};

pub fn new(request: v1::LogStreamsCreateRequest) -> Result<NewLogStream, Error> {
    use log_streams_create_request::Start;
    Ok(NewLogStream {
        payload: payload(request.payload),
        organization_id: request.organization_id,
        name: request.name,
        destination: destinations::draft(request.destination)?,
        start: match request.start {
            None => WatchStart::Now,
            Some(Start::FromSequence(sequence)) => WatchStart::Sequence(sequence),
            Some(Start::FromTime(time)) => WatchStart::Time(from_proto_time(Some(time))),
        },
        paused: request.paused,
    })
}

pub fn changes(request: v1::LogStreamsUpdateRequest) -> Result<(String, LogStreamChanges), Error> {
    let changes = LogStreamChanges {
        name: request.name,
        destination: destinations::draft(request.destination)?,
        payload: payload(request.payload),
    };
    Ok((request.log_stream_id, changes))
}

pub fn replay_start(start: Option<log_streams_replay_request::Start>) -> Option<WatchStart> {
    use log_streams_replay_request::Start;
    Some(match start? {
        Start::FromSequence(sequence) => WatchStart::Sequence(sequence),
        Start::FromTime(time) => WatchStart::Time(from_proto_time(Some(time))),
    })
}

fn payload(sent: i32) -> PayloadDraft {
    match v1::LogStreamPayload::try_from(sent) {
        Ok(v1::LogStreamPayload::Unspecified) => PayloadDraft::Absent,
        Ok(v1::LogStreamPayload::Workos) => PayloadDraft::Form(PayloadForm::WorkOs),
        Ok(v1::LogStreamPayload::Ocsf) => PayloadDraft::Form(PayloadForm::Ocsf),
        Err(_) => PayloadDraft::Unknown,
    }
}

pub fn state(state: LogStreamState) -> v1::LogStreamState {
    match state {
        LogStreamState::Active => v1::LogStreamState::Active,
        LogStreamState::Inactive => v1::LogStreamState::Inactive,
        LogStreamState::Error => v1::LogStreamState::Error,
        LogStreamState::Invalid => v1::LogStreamState::Invalid,
    }
}

pub fn log_stream(stream: LogStream) -> v1::LogStream {
    let is_failing = matches!(stream.state, LogStreamState::Error | LogStreamState::Invalid);
    v1::LogStream {
        id: stream.id.to_string(),
        organization_id: stream.organization_id.to_string(),
        name: stream.name,
        state: state(stream.state).into(),
        destination: Some(destinations::destination(
            stream.destination,
            stream.ca_certificates_pem,
        )),
        payload: match stream.payload {
            PayloadForm::WorkOs => v1::LogStreamPayload::Workos.into(),
            PayloadForm::Ocsf => v1::LogStreamPayload::Ocsf.into(),
        },
        next_sequence: stream.progress.next_sequence,
        last_synced_at: stream.progress.last_success_at.map(to_proto_time),
        error: if is_failing { stream.progress.last_error } else { String::new() },
        created_at: Some(to_proto_time(stream.created_at)),
        updated_at: Some(to_proto_time(stream.updated_at)),
    }
}

pub fn status(view: StatusView) -> v1::LogStreamStatus {
    let status = view.status;
    let progress = status.stream.progress;
    v1::LogStreamStatus {
        state: state(status.stream.state).into(),
        next_sequence: progress.next_sequence,
        tree_size: status.tree_size,
        lag_events: status.tree_size.saturating_sub(progress.next_sequence),
        lag_seconds: view.lag_seconds,
        last_success_at: progress.last_success_at.map(to_proto_time),
        last_error: progress.last_error,
        last_error_at: progress.last_error_at.map(to_proto_time),
        consecutive_failures: progress.consecutive_failures,
        next_attempt_at: progress.next_attempt_at.map(to_proto_time),
        delivered_events: progress.delivered_events,
        delivered_bytes: progress.delivered_bytes,
        events_per_second: view.events_per_second,
        bytes_per_second: view.bytes_per_second,
        dead_letters: status.dead_letters,
        warnings: view.warnings,
    }
}

pub fn trial(trial: Trial) -> v1::LogStreamsTestResponse {
    v1::LogStreamsTestResponse {
        delivered: trial.delivered,
        answer: trial.answer,
        http_status: trial.http_status.map_or(0, i32::from),
        duration_milliseconds: u32::try_from(trial.duration.as_millis()).unwrap_or(u32::MAX),
        state: state(trial.state).into(),
    }
}

pub fn dead_letter(letter: DeadLetter) -> v1::DeadLetter {
    v1::DeadLetter {
        sequence: letter.sequence,
        event_id: letter.event_id,
        reason: letter.reason,
        created_at: Some(to_proto_time(letter.created_at)),
        redrives: letter.redrives,
    }
}
