//! What a call can fail with. Each case has a code, which the transports turn into a status, and a
//! stable reason.

use std::{borrow::Cow, time::Duration};

use thiserror::Error;

use crate::{
    domain::{api_key::Scope, violation::Violation},
    service::lanes::LaneError,
    store::StoreError,
};

/// The result of a service call.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call failed.
#[derive(Debug, Error)]
pub enum Error {
    /// Fields are missing or malformed.
    #[error("{}", summary("the request is not valid", .0))]
    InvalidRequest(Vec<Violation>),
    /// The event does not fit the schema of its action, or there is no such action or version.
    #[error("{}", summary("the event does not fit its action's schema", .0))]
    InvalidEvent(Vec<Violation>),
    /// The range of an export is none: a bound is no time, or it ends before it starts.
    #[error("{}", summary("the range is not valid", .0))]
    InvalidExportRange(Vec<Violation>),
    /// No key was sent.
    #[error("send an API key: authorization: Bearer sk_...")]
    KeyMissing,
    /// The key is unknown or revoked.
    #[error("the API key is unknown or revoked")]
    KeyRefused,
    /// Too many keys from the same source were refused.
    #[error("too many unknown API keys were sent from this address; try again later")]
    TooManyRefusedKeys,
    /// The key lacks a scope.
    #[error("the API key lacks the scope {0}")]
    ScopeMissing(Scope),
    /// The key is limited to some organizations and may not do this.
    #[error("the API key is limited to some organizations and cannot {0}")]
    KeyLimited(&'static str),
    /// What the request names does not exist, or not for this caller.
    #[error("{kind} not found: '{id}'")]
    NotFound {
        /// What kind of thing.
        kind: Kind,
        /// Path of the field that names it.
        field: Cow<'static, str>,
        /// Its id.
        id: String,
    },
    /// The id is taken.
    #[error("{kind} with that {field} exists already: '{id}'")]
    AlreadyExists {
        /// What kind of thing.
        kind: Kind,
        /// Path of the field that has the id.
        field: &'static str,
        /// The id.
        id: String,
    },
    /// The organization is the service's own.
    #[error(
        "the organization is the service's own log of the environment; it can be read, kept longer and held"
    )]
    OrganizationReserved,
    /// The destination of a log stream has secrets, and there is no key to encrypt them.
    #[error(
        "this destination has secrets, and the service has no key to encrypt them: set secrets.key"
    )]
    SecretsKeyMissing,
    /// The secrets of a log stream cannot be decrypted.
    #[error("the secrets of the log stream cannot be decrypted: {0}; send them again with Update")]
    SecretsUnreadable(String),
    /// An organization has as many log streams as it may.
    #[error("an organization can have at most {0} log streams")]
    TooManyLogStreams(u64),
    /// So many exports of an organization are still to be written, which is as many as may be.
    #[error("{0} exports of the organization are still to be written; wait, or cancel some")]
    TooManyExports(u64),
    /// Somebody else changed it meanwhile.
    #[error("somebody else changed it at the same time; try again")]
    ChangedMeanwhile,
    /// The organization's log is held.
    #[error("the organization's log is under a legal hold; ReleaseLegalHold ends it")]
    LegalHold,
    /// The log has no such tile, or it cannot be served.
    #[error("no such tile: {0}")]
    NoTile(&'static str),
    /// The download link is altered or expired.
    #[error("the download link has expired or was altered; GetExport makes a fresh one")]
    LinkRefused,
    /// The service cannot answer now; a retry helps.
    #[error("the service is not available: {0}")]
    Unavailable(&'static str),
    /// Too many events wait to be written; a retry helps.
    #[error("too many events wait to be written; try again")]
    QueueFull,
    /// A stream's client does not take what is sent to it.
    #[error("the acknowledgements were not read for {0} s; send again what was not acknowledged")]
    AcknowledgementsNotRead(u64),
    /// The client of a stream took nothing for so many seconds while something waited for it.
    #[error("the client took nothing for {0} seconds; resume from next_sequence")]
    WatcherTooSlow(u64),
    /// The key or the replica has as many watchers as it may have.
    #[error("too many watchers; end some, or try another replica")]
    TooManyWatchers,
    /// The replica works on as many requests, or has as many streams open, as it may.
    #[error("the service has too many requests at a time; try again")]
    TooManyRequests,
    /// The key has made as many calls as it may in a minute; it may make another after that time.
    #[error("the API key has made too many calls; try again in {} s", .0.as_secs().max(1))]
    RateLimited(Duration),
    /// A message is larger than it may be.
    #[error("{0}")]
    MessageTooLarge(String),
    /// The message of a call took too long to arrive.
    #[error("the request took too long to arrive; nothing was stored")]
    BodyTooSlow,
    /// The deadline of the call passed.
    #[error("the deadline passed; a write may still have happened")]
    DeadlineExceeded,
    /// The database failed.
    #[error(transparent)]
    Store(StoreError),
    /// A file could not be read or written.
    #[error("the export store failed")]
    Files(#[source] object_store::Error),
    /// A defect of this program.
    #[error("internal error: {0}")]
    Internal(String),
}

/// A kind of thing that can be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An organization.
    Organization,
    /// An action.
    Action,
    /// An event.
    Event,
    /// An export.
    Export,
    /// A log stream.
    LogStream,
    /// An API key.
    ApiKey,
    /// An environment.
    Environment,
    /// A cursor of a list.
    Cursor,
}

impl Kind {
    /// The name in messages and in `ResourceInfo.resource_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Organization => "Organization",
            Self::Action => "Action",
            Self::Event => "Event",
            Self::Export => "Audit Log Export",
            Self::LogStream => "Audit Log Stream",
            Self::ApiKey => "API key",
            Self::Environment => "Environment",
            Self::Cursor => "Cursor",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The few kinds of failure that a status can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// The request is wrong, whenever it is sent.
    InvalidArgument,
    /// The caller is not known.
    Unauthenticated,
    /// The caller may not.
    PermissionDenied,
    /// There is no such thing.
    NotFound,
    /// There is such a thing already.
    AlreadyExists,
    /// Something must be changed first.
    FailedPrecondition,
    /// Too much at once: try again later.
    ResourceExhausted,
    /// Try again later.
    Unavailable,
    /// Too late.
    DeadlineExceeded,
    /// Too large, whenever it is sent. What the gRPC library calls it.
    OutOfRange,
    /// Our fault.
    Internal,
}

impl Error {
    /// The kind of failure.
    pub const fn code(&self) -> Code {
        match self {
            Self::InvalidRequest(_) | Self::InvalidEvent(_) | Self::InvalidExportRange(_) => {
                Code::InvalidArgument
            }
            Self::KeyMissing | Self::KeyRefused => Code::Unauthenticated,
            Self::ScopeMissing(_) | Self::KeyLimited(_) | Self::LinkRefused => {
                Code::PermissionDenied
            }
            Self::NotFound { .. } | Self::NoTile(_) => Code::NotFound,
            Self::LegalHold
            | Self::OrganizationReserved
            | Self::SecretsKeyMissing
            | Self::SecretsUnreadable(_)
            | Self::TooManyLogStreams(_) => Code::FailedPrecondition,
            Self::AlreadyExists { .. } => Code::AlreadyExists,
            Self::QueueFull
            | Self::TooManyRefusedKeys
            | Self::TooManyExports(_)
            | Self::AcknowledgementsNotRead(_)
            | Self::WatcherTooSlow(_)
            | Self::TooManyRequests
            | Self::RateLimited(_)
            | Self::TooManyWatchers => Code::ResourceExhausted,
            Self::Unavailable(_)
            | Self::ChangedMeanwhile
            | Self::Files(_)
            | Self::Store(StoreError::Unavailable(_) | StoreError::Conflict(_)) => {
                Code::Unavailable
            }
            Self::DeadlineExceeded | Self::BodyTooSlow => Code::DeadlineExceeded,
            Self::MessageTooLarge(_) => Code::OutOfRange,
            Self::Store(_) | Self::Internal(_) => Code::Internal,
        }
    }

    /// Whether the failure passes by itself: the same request can succeed later.
    pub const fn is_temporary(&self) -> bool {
        matches!(self.code(), Code::Unavailable | Code::ResourceExhausted)
    }

    /// The stable reason, `ErrorInfo.reason` in the contract.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "INVALID_REQUEST",
            Self::InvalidEvent(_) => "INVALID_AUDIT_LOG_EVENT",
            Self::InvalidExportRange(_) => "INVALID_AUDIT_LOG_EXPORT_RANGE_DATE",
            Self::KeyMissing => "API_KEY_MISSING",
            Self::KeyRefused => "API_KEY_INVALID",
            Self::TooManyRefusedKeys => "TOO_MANY_REFUSED_KEYS",
            Self::ScopeMissing(_) => "SCOPE_MISSING",
            Self::KeyLimited(_) => "KEY_LIMITED_TO_ORGANIZATIONS",
            Self::NotFound { kind, .. } => match kind {
                Kind::Organization => "ORGANIZATION_NOT_FOUND",
                Kind::Action => "ACTION_NOT_FOUND",
                Kind::Event => "EVENT_NOT_FOUND",
                Kind::Export => "EXPORT_NOT_FOUND",
                Kind::LogStream => "LOG_STREAM_NOT_FOUND",
                Kind::ApiKey => "API_KEY_NOT_FOUND",
                Kind::Environment => "ENVIRONMENT_NOT_FOUND",
                Kind::Cursor => "CURSOR_NOT_FOUND",
            },
            Self::AlreadyExists { .. } => "ALREADY_EXISTS",
            Self::NoTile(_) => "TILE_NOT_FOUND",
            Self::LegalHold => "LEGAL_HOLD",
            Self::OrganizationReserved => "ORGANIZATION_RESERVED",
            Self::SecretsKeyMissing => "SECRETS_KEY_MISSING",
            Self::SecretsUnreadable(_) => "SECRETS_UNREADABLE",
            Self::TooManyLogStreams(_) => "TOO_MANY_LOG_STREAMS",
            Self::TooManyExports(_) => "TOO_MANY_EXPORTS",
            Self::ChangedMeanwhile => "CHANGED_MEANWHILE",
            Self::LinkRefused => "DOWNLOAD_LINK_REFUSED",
            Self::QueueFull => "WRITE_QUEUE_FULL",
            Self::AcknowledgementsNotRead(_) => "ACKNOWLEDGEMENTS_NOT_READ",
            Self::WatcherTooSlow(_) => "WATCHER_TOO_SLOW",
            Self::TooManyWatchers => "TOO_MANY_WATCHERS",
            Self::Unavailable(_) => "SERVICE_UNAVAILABLE",
            Self::Files(_) => "EXPORT_STORE_UNAVAILABLE",
            Self::Store(StoreError::Unavailable(_) | StoreError::Conflict(_)) => {
                "DATABASE_UNAVAILABLE"
            }
            Self::TooManyRequests => "TOO_MANY_REQUESTS",
            Self::RateLimited(_) => "RATE_LIMITED",
            Self::MessageTooLarge(_) => "MESSAGE_TOO_LARGE",
            Self::BodyTooSlow => "REQUEST_TOO_SLOW",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Store(_) | Self::Internal(_) => "INTERNAL",
        }
    }

    /// The fields that are wrong.
    pub fn violations(&self) -> &[Violation] {
        match self {
            Self::InvalidRequest(violations)
            | Self::InvalidEvent(violations)
            | Self::InvalidExportRange(violations) => violations,
            _ => &[],
        }
    }

    /// The same error, if it is about something that was not found, as named by another field.
    #[must_use]
    pub fn at_field(self, field: &str) -> Self {
        match self {
            Self::NotFound { kind, id, .. } => {
                Self::NotFound { kind, field: field.to_owned().into(), id }
            }
            other => other,
        }
    }

    /// The same error where field paths that start with `from` start with `to`.
    #[must_use]
    pub fn with_renamed(self, from: &str, to: &str) -> Self {
        let Self::InvalidRequest(mut violations) = self else { return self };
        for violation in &mut violations {
            violation.field = renamed(&violation.field, from, to);
            violation.description = renamed(&violation.description, from, to);
        }
        Self::InvalidRequest(violations)
    }

    /// The same error with `prefix` before each field path.
    #[must_use]
    pub fn with_prefix(self, prefix: &str) -> Self {
        let prefixed = |violations: Vec<Violation>| {
            let with = |violation: Violation| Violation {
                field: format!("{prefix}{}", violation.field),
                ..violation
            };
            violations.into_iter().map(with).collect()
        };
        match self {
            Self::InvalidRequest(violations) => Self::InvalidRequest(prefixed(violations)),
            Self::InvalidEvent(violations) => Self::InvalidEvent(prefixed(violations)),
            Self::NotFound { kind, field, id } => {
                Self::NotFound { kind, field: format!("{prefix}{field}").into(), id }
            }
            other => other,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<LaneError> for Error {
    fn from(error: LaneError) -> Self {
        match error {
            LaneError::Full => Self::QueueFull,
            LaneError::Stopping => Self::Unavailable("the service is shutting down"),
            LaneError::Store(error) => Self::Store(error),
        }
    }
}

impl From<Vec<Violation>> for Error {
    fn from(violations: Vec<Violation>) -> Self {
        Self::InvalidRequest(violations)
    }
}

fn renamed(text: &str, from: &str, to: &str) -> String {
    text.strip_prefix(from).map_or_else(|| text.to_owned(), |rest| format!("{to}{rest}"))
}

/// Names the first of the violations, and how many more there are.
fn summary(what: &str, violations: &[Violation]) -> String {
    match violations {
        [] => what.to_owned(),
        [only] => format!("{what}: {only}"),
        [first, more @ ..] => format!("{what}: {first} (and {} more)", more.len()),
    }
}
