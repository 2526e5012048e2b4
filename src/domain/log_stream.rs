//! Log streams: what forwards a log to a destination, and how it is doing.

use super::{
    caller::Tenant,
    destination::Destination,
    ids::{EnvironmentId, LogStreamId, OrganizationId},
    timestamp::Timestamp,
    violation::{Reason, Violations},
};

/// Whether a log stream delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogStreamState {
    /// Delivers, or waits for events.
    Active,
    /// Paused.
    Inactive,
    /// The last try failed in a way that may pass.
    Error,
    /// The destination refuses the credentials or the configuration.
    Invalid,
}

impl LogStreamState {
    const ALL: [Self; 4] = [Self::Active, Self::Inactive, Self::Error, Self::Invalid];

    /// The name, as WorkOS has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Error => "error",
            Self::Invalid => "invalid",
        }
    }

    /// The state with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == name)
    }
}

/// In which form events are sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PayloadForm {
    /// As WorkOS sends them.
    #[default]
    WorkOs,
    /// As events of the Open Cybersecurity Schema Framework.
    Ocsf,
}

impl PayloadForm {
    const ALL: [Self; 2] = [Self::WorkOs, Self::Ocsf];

    /// The name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WorkOs => "workos",
            Self::Ocsf => "ocsf",
        }
    }

    /// The form with that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|form| form.as_str() == name)
    }
}

/// A form as a caller sent it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PayloadDraft {
    /// None was named.
    #[default]
    Absent,
    /// There is none of that name.
    Unknown,
    /// This one.
    Form(PayloadForm),
}

impl PayloadDraft {
    /// The form with that name; none is named by an empty text.
    pub fn from_name(name: &str) -> Self {
        if name.is_empty() {
            return Self::Absent;
        }
        PayloadForm::from_name(name).map_or(Self::Unknown, Self::Form)
    }

    /// The form, `default` where none was named.
    pub fn check(self, default: PayloadForm, violations: &mut Violations) -> PayloadForm {
        match self {
            Self::Absent => default,
            Self::Form(form) => form,
            Self::Unknown => {
                let forms = PayloadForm::ALL.map(PayloadForm::as_str).join(" or ");
                violations.add("payload", Reason::Unknown, format!("payload must be {forms}"));
                default
            }
        }
    }
}

/// Names a log stream in the whole deployment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogStreamKey {
    /// Whose log it forwards.
    pub organization_id: OrganizationId,
    /// Id.
    pub id: LogStreamId,
}

/// A log stream, without its secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStream {
    /// Id.
    pub id: LogStreamId,
    /// The environment of its organization.
    pub environment_id: EnvironmentId,
    /// Whose log it forwards.
    pub organization_id: OrganizationId,
    /// What people call it; may be empty.
    pub name: String,
    /// Where it delivers.
    pub destination: Destination,
    /// Authorities that the destination's certificate may also be signed by, in PEM; may be empty.
    pub ca_certificates_pem: String,
    /// In which form.
    pub payload: PayloadForm,
    /// Whether it delivers.
    pub state: LogStreamState,
    /// How far it is, and what went wrong.
    pub progress: StreamProgress,
    /// Counts moves of the cursor by callers: what was delivered under an older one moves nothing.
    pub generation: u64,
    /// Counts changes by callers: who works with an older one looks again.
    pub revision: u64,
    /// When it was created.
    pub created_at: Timestamp,
    /// When its configuration last changed.
    pub updated_at: Timestamp,
}

impl LogStream {
    /// What names it.
    pub fn key(&self) -> LogStreamKey {
        LogStreamKey { organization_id: self.organization_id.clone(), id: self.id.clone() }
    }

    /// Whose log it forwards.
    pub fn tenant(&self) -> Tenant {
        let environment = self.environment_id.clone();
        Tenant { environment, organization: self.organization_id.clone() }
    }

    /// Whether events are to be delivered.
    pub fn is_running(&self) -> bool {
        self.state != LogStreamState::Inactive
    }
}

/// How far a log stream is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamProgress {
    /// The next event that is to be delivered.
    pub next_sequence: u64,
    /// When the destination last took events.
    pub last_success_at: Option<Timestamp>,
    /// What last went wrong; may be empty.
    pub last_error: String,
    /// When that was.
    pub last_error_at: Option<Timestamp>,
    /// Tries that failed since the last success.
    pub consecutive_failures: u32,
    /// When the next try is due, after one that failed.
    pub next_attempt_at: Option<Timestamp>,
    /// Events that the destination took, repetitions included.
    pub delivered_events: u64,
    /// Their bytes before compression.
    pub delivered_bytes: u64,
}

/// How a log stream is doing.
#[derive(Debug, Clone, PartialEq)]
pub struct LogStreamStatus {
    /// The stream.
    pub stream: LogStream,
    /// Size of its log.
    pub tree_size: u64,
    /// When the oldest event was received that is still to be delivered.
    pub oldest_waiting: Option<Timestamp>,
    /// How many dead letters it has.
    pub dead_letters: u64,
}

/// An event that a destination can never take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Position in the log.
    pub sequence: u64,
    /// Id of the event.
    pub event_id: String,
    /// Why it was not taken.
    pub reason: String,
    /// When it was given up.
    pub created_at: Timestamp,
    /// How often it was sent again, in vain.
    pub redrives: u32,
}
