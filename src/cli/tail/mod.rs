//! `audit-logs tail`: the events of a log, as they come.

mod json;
mod output;
mod since;
mod text;

use std::io::IsTerminal;

use anyhow::Result;
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::{output::Output, since::Since, text::Style};
use super::server::ServerArguments;
use crate::{
    client::{Follower, Told},
    domain::clock::{Clock, SystemClock},
    proto::v1::{EventRecord, WatchEventsRequest},
};

const AFTER_HELP: &str = "\
On a terminal every event is one line: sequence, time, action, actor, targets, location. Elsewhere, or
with --json, it is one JSON object a line (JSON Lines), whose members stay what they are:
  sequence, id, organization_id, created_at, leaf_hash (hex), action, version, occurred_at,
  actor {id, type, name, metadata}, targets [{id, type, name, metadata}],
  context {location, user_agent}, metadata; those that an event does not have are left out

A connection that breaks is made again, and the log goes on exactly where it stopped; what happens is
told on standard error. Ctrl-C ends the command with exit code 0.

Examples:
  audit-logs tail --organization org_1                          what happens from now on
  audit-logs tail --organization org_1 --since 15m              the last 15 minutes, and on
  audit-logs tail --organization org_1 --since 0 --no-follow    all that there is
  audit-logs tail --organization org_1 --action user.signed_in --actor-id user_7 --actor-id user_8
  audit-logs tail --organization org_1 --since 0 --json | jq -r .actor.id";

#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    /// An API key with the scope `events:read`
    #[arg(long, env = "AUDIT_LOGS_API_KEY", hide_env_values = true)]
    api_key: String,
    /// The organization whose log is watched
    #[arg(long)]
    organization: String,
    /// Where to start: a sequence (42), a time the service received events at (2026-01-31T12:00:00Z, or a
    /// date), or so long ago (30s, 15m, 2h, 7d) [default: now]
    #[arg(long, value_name = "WHERE")]
    since: Option<Since>,
    /// Only this action; may be given several times, as all that follow: any of them may match
    #[arg(long = "action", value_name = "NAME")]
    actions: Vec<String>,
    /// Only the actor with this id
    #[arg(long = "actor-id", value_name = "ID")]
    actor_ids: Vec<String>,
    /// Only actors with exactly this name
    #[arg(long = "actor-name", value_name = "NAME")]
    actor_names: Vec<String>,
    /// Only events with a target of this type
    #[arg(long = "target-type", value_name = "TYPE")]
    target_types: Vec<String>,
    /// Only events with a target that has this id
    #[arg(long = "target-id", value_name = "ID")]
    target_ids: Vec<String>,
    /// Stop at the present end of the log
    #[arg(long, visible_alias = "until-now")]
    no_follow: bool,
    /// JSON Lines, on a terminal too
    #[arg(long, conflicts_with = "text")]
    json: bool,
    /// Lines for people, elsewhere too
    #[arg(long)]
    text: bool,
}

/// How events are written.
#[derive(Debug, Clone, Copy)]
enum Form {
    Json,
    Text(Style),
}

impl Form {
    fn of(arguments: &Arguments) -> Self {
        let terminal = std::io::stdout().is_terminal();
        if arguments.json || !(terminal || arguments.text) {
            return Self::Json;
        }
        // https://no-color.org
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self::Text(if terminal && !no_color { Style::Coloured } else { Style::Plain })
    }

    fn write(self, events: &[EventRecord]) -> Result<String> {
        let mut lines = String::new();
        for event in events {
            match self {
                Self::Json => lines.push_str(&json::line(event)?),
                Self::Text(style) => lines.push_str(&text::line(event, style)),
            }
            lines.push('\n');
        }
        Ok(lines)
    }
}

pub async fn run(arguments: Arguments) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        biased;
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
        ended = follow(arguments) => ended,
    }
}

async fn follow(arguments: Arguments) -> Result<()> {
    let form = Form::of(&arguments);
    let request = WatchEventsRequest {
        organization_id: arguments.organization,
        start: arguments.since.map(|since| since.start(SystemClock.now())),
        actions: arguments.actions,
        actor_ids: arguments.actor_ids,
        actor_names: arguments.actor_names,
        target_types: arguments.target_types,
        target_ids: arguments.target_ids,
    };
    let trust = arguments.server.trust.read()?;
    let mut follower = Follower::new(&arguments.server.server, &arguments.api_key, trust, request);
    let mut output = Output::standard();
    // Where the log ended at the start.
    let mut end = None;
    loop {
        match follower.next().await? {
            Told::Events(events) => {
                if !output.write(form.write(&events)?).await {
                    break;
                }
            }
            Told::End { tree_size } => _ = end.get_or_insert(tree_size),
            Told::Interrupted { why, pause } => {
                eprintln!("{why}; again in {:.1} s", pause.as_secs_f64());
            }
        }
        let done = end.zip(follower.next_sequence()).is_some_and(|(end, next)| next >= end);
        if arguments.no_follow && done {
            break;
        }
    }
    output.finish().await
}
