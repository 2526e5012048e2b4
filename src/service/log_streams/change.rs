//! Creating log streams and changing what they do.

use rand::RngExt;

use super::{Error, Kind, LogStreams, Result, check_id, not_found, permit, to_its_end};
use crate::{
    domain::{
        caller::Caller,
        destination::{Destination, Secrets, SyslogFormat},
        destination_check::check_destination,
        ids::LogStreamId,
        limits,
        log_stream::{LogStream, LogStreamState, PayloadDraft, PayloadForm, StreamProgress},
        permissions::Operation,
        violation::{Reason, Violation, Violations},
    },
    service::watch::WatchStart,
    store::StoredLogStream,
};

/// How often a change is tried again that somebody else was faster with.
const TRIES: usize = 3;

/// A destination as sent.
#[derive(Debug, Clone)]
pub struct DestinationDraft {
    /// What can be told.
    pub destination: Destination,
    /// What cannot.
    pub secrets: Secrets,
    /// Authorities that its certificate may also be signed by, in PEM.
    pub ca_certificates_pem: String,
}

/// A log stream as sent.
#[derive(Debug, Clone, Default)]
pub struct NewLogStream {
    /// Whose log it forwards.
    pub organization_id: String,
    /// What people call it.
    pub name: String,
    /// Where it delivers; `None` if that was not sent.
    pub destination: Option<DestinationDraft>,
    /// In which form.
    pub payload: PayloadDraft,
    /// Where it begins.
    pub start: WatchStart,
    /// Whether it waits for Resume.
    pub paused: bool,
}

/// What is to be changed of a log stream; the default changes nothing.
#[derive(Debug, Clone, Default)]
pub struct LogStreamChanges {
    /// Another name.
    pub name: Option<String>,
    /// Another destination of the same kind.
    pub destination: Option<DestinationDraft>,
    /// Another form.
    pub payload: PayloadDraft,
}

/// A log stream as it is to be.
struct Changed {
    stored: StoredLogStream,
    /// Whether its secrets are others than before: sealed, the same look different each time.
    secrets_changed: bool,
}

impl LogStreams {
    /// Creates a log stream.
    pub async fn create(&self, caller: &Caller, new: NewLogStream) -> Result<LogStream> {
        permit(caller, Operation::CreateLogStream)?;
        let mut violations = Violations::default();
        check_id("organization_id", &new.organization_id, &mut violations);
        violations.optional_text("name", &new.name, limits::SHORT_TEXT_CHARS);
        let payload = new.payload.check(PayloadForm::default(), &mut violations);
        let Some(draft) = new.destination else {
            violations.add("destination", Reason::Required, "destination is required");
            return Err(violations.into_found().into());
        };
        violations.extend(self.faults(&draft, payload));
        violations.into_result(())?;
        let tenant = self.organizations.tenant(caller, &new.organization_id).await?;
        let next_sequence = self.starting(&tenant, new.start).await?;
        let now = self.clock.now();
        let id = LogStreamId::generate(now, &mut rand::rng());
        let mut destination = draft.destination;
        give_external_id(&mut destination, None);
        let stream = LogStream {
            id,
            environment_id: tenant.environment,
            organization_id: tenant.organization,
            name: new.name,
            destination,
            ca_certificates_pem: draft.ca_certificates_pem,
            payload,
            state: if new.paused { LogStreamState::Inactive } else { LogStreamState::Active },
            progress: StreamProgress { next_sequence, ..Default::default() },
            generation: 0,
            revision: 0,
            created_at: now,
            updated_at: now,
        };
        let stored = self.sealed(stream, &draft.secrets)?;
        let (this, by) = (self.clone(), caller.clone());
        to_its_end(async move {
            if !this.store.insert_log_stream(&stored, limits::LOG_STREAMS).await? {
                return Err(Error::TooManyLogStreams(limits::LOG_STREAMS));
            }
            this.changed.notify_one();
            let facts = facts(&stored.stream);
            this.record(&by, &stored.stream, "log_stream.created", facts).await;
            Ok(stored.stream)
        })
        .await
    }

    /// Changes a log stream. Secrets that are not sent stay what they were.
    pub async fn update(
        &self,
        caller: &Caller,
        id: &str,
        changes: LogStreamChanges,
    ) -> Result<LogStream> {
        for _ in 0..TRIES {
            let found = self.find(caller, Operation::UpdateLogStream, id).await?;
            let Changed { stored: updated, secrets_changed } =
                self.changed_stream(found, changes.clone())?;
            let (this, by) = (self.clone(), caller.clone());
            let key = updated.stream.id.clone();
            let is_done = to_its_end(async move {
                let is_done = this.store.update_log_stream(&updated).await?;
                if is_done {
                    this.changed.notify_one();
                    let mut facts = facts(&updated.stream);
                    facts.push(("secrets_changed", secrets_changed.into()));
                    this.record(&by, &updated.stream, "log_stream.updated", facts).await;
                }
                Ok(is_done)
            });
            if is_done.await? {
                return Ok(self.find(caller, Operation::UpdateLogStream, id).await?.stream);
            }
            if self.store.get_log_stream(caller, &key).await?.is_none() {
                return Err(not_found(Kind::LogStream, "log_stream_id", id));
            }
        }
        Err(Error::ChangedMeanwhile)
    }

    fn changed_stream(&self, found: StoredLogStream, changes: LogStreamChanges) -> Result<Changed> {
        let mut stream = found.stream.clone();
        let mut violations = Violations::default();
        if let Some(name) = changes.name {
            violations.optional_text("name", &name, limits::SHORT_TEXT_CHARS);
            stream.name = name;
        }
        stream.payload = changes.payload.check(stream.payload, &mut violations);
        stream.updated_at = self.clock.now();
        let Some(mut draft) = changes.destination else {
            violations.extend(form_faults(&stream.destination, stream.payload));
            violations.into_result(())?;
            let stored = StoredLogStream { stream, secrets: found.secrets };
            return Ok(Changed { stored, secrets_changed: false });
        };
        if draft.destination.kind() != stream.destination.kind() {
            let description = format!(
                "destination must stay of the kind {}; create another log stream",
                stream.destination.kind()
            );
            violations.add("destination", Reason::Conflict, description);
            return Err(violations.into_found().into());
        }
        // Secrets that cannot be read any more are as good as gone: all must be sent again. So must those
        // of another place, or whoever may change a stream could have them sent to a place of his own;
        // none vanishes, for all of those are required.
        let stays = draft.destination.addresses() == stream.destination.addresses()
            && draft.ca_certificates_pem == stream.ca_certificates_pem;
        let before = self.credentials.open(&found).unwrap_or_default();
        let older = if stays { before.clone() } else { before.clone().that_stay_here() };
        draft.secrets = draft.secrets.or(&older).of(&draft.destination);
        violations.extend(self.faults(&draft, stream.payload));
        violations.into_result(())?;
        give_external_id(&mut draft.destination, Some(&stream.destination));
        stream.destination = draft.destination;
        stream.ca_certificates_pem = draft.ca_certificates_pem;
        let stored = self.sealed(stream, &draft.secrets)?;
        Ok(Changed { stored, secrets_changed: draft.secrets != before })
    }

    /// What is wrong with a destination.
    fn faults(&self, draft: &DestinationDraft, payload: PayloadForm) -> Vec<Violation> {
        let mut violations = Violations::default();
        let DestinationDraft { destination, secrets, ca_certificates_pem } = draft;
        check_destination(destination, ca_certificates_pem, secrets, self.rules, &mut violations);
        violations.extend(form_faults(destination, payload));
        violations.into_found()
    }

    /// Encrypts the secrets, after a look whether the destination can be used at all.
    fn sealed(&self, stream: LogStream, secrets: &Secrets) -> Result<StoredLogStream> {
        if let Err(why) = self.credentials.sink(&stream, secrets) {
            let mut violations = Violations::default();
            let field = format!("destination.{}", stream.destination.field());
            violations.add(field, Reason::InvalidCharacters, why);
            return Err(violations.into_found().into());
        }
        let secrets = self.credentials.seal(&stream, secrets)?;
        Ok(StoredLogStream { stream, secrets })
    }
}

/// What is wrong with the form of events for a destination.
fn form_faults(destination: &Destination, payload: PayloadForm) -> Vec<Violation> {
    let mut violations = Violations::default();
    let has_its_own = match destination {
        Destination::Otlp(_) => true,
        Destination::Syslog(syslog) => syslog.format == SyslogFormat::Cef,
        _ => false,
    };
    if has_its_own && payload == PayloadForm::Ocsf {
        let description = "payload must not be OCSF with OTLP or CEF, which have their own form";
        violations.add("payload", Reason::Conflict, description);
    }
    violations.into_found()
}

/// A role is assumed with an external id, which only the service can make. It stays with the stream, also
/// while that uses an access key: the role's trust policy names it.
fn give_external_id(destination: &mut Destination, older: Option<&Destination>) {
    let Destination::S3(s3) = destination else { return };
    if let Some(Destination::S3(older)) = older {
        s3.external_id.clone_from(&older.external_id);
    }
    if s3.external_id.is_empty() && !s3.role_name.is_empty() {
        s3.external_id = format!("{:032x}", rand::rng().random::<u128>());
    }
}

/// Where a stream sends, without the paths of URLs, which may be secret.
fn hosts(stream: &LogStream) -> Vec<String> {
    let host = |text: &str| {
        let url = url::Url::parse(text).ok();
        url.and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_else(|| text.to_owned())
    };
    let addresses = stream.destination.addresses();
    addresses.iter().filter(|text| !text.is_empty()).map(|text| host(text)).collect()
}

/// What the system log tells of a stream's configuration.
fn facts(stream: &LogStream) -> Vec<(&'static str, serde_json::Value)> {
    vec![
        ("type", stream.destination.kind().into()),
        ("payload", stream.payload.as_str().into()),
        ("name", stream.name.clone().into()),
        ("hosts", hosts(stream).join(" ").into()),
    ]
}
