//! Recording events, and in `reading` how they are read back.

mod reading;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use super::{
    Rules,
    error::{Code, Error, Result},
    lanes::{LaneError, Lanes, Placed},
    not_found,
    organizations::{EventTenant, Organizations, check_id},
    permit,
    prepared::prepared,
    receipts::{self, Receipt},
    schemas::{Lookup, Schemas},
    system_log::{SystemEvent, SystemLog},
    transparency::Transparency,
};
use crate::{
    domain::{
        caller::{Caller, Tenant},
        canonical::canonical_sent_event,
        clock::Clock,
        event::Event,
        event_draft::EventDraft,
        idempotency::{Idempotency, IdempotencyKey},
        ids::OrganizationId,
        limits,
        permissions::Operation,
        violation::{Reason, Violation, Violations},
    },
    store::{Appended, LeafData, PreparedEvent, Store},
};

/// Records and reads events.
#[derive(Clone)]
pub struct Events {
    store: Store,
    clock: Arc<dyn Clock>,
    rules: Rules,
    organizations: Organizations,
    schemas: Schemas,
    lanes: Lanes,
    transparency: Transparency,
    system_log: SystemLog,
}

/// What events are recorded and read with.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The operator's rules.
    pub rules: Rules,
    /// Whose logs there are.
    pub organizations: Organizations,
    /// What events must be like.
    pub schemas: Schemas,
    /// What writes events.
    pub lanes: Lanes,
    /// What makes receipts.
    pub transparency: Transparency,
    /// Where reads are recorded.
    pub system_log: SystemLog,
}

/// An event as a caller wants it recorded.
#[derive(Debug, Default, Clone)]
pub struct NewEvent {
    /// Whose log takes it.
    pub organization_id: String,
    /// The event; `None` if it was not sent.
    pub event: Option<EventDraft>,
    /// How a repetition is recognized.
    pub idempotency: Idempotency,
    /// Whether a receipt is wanted.
    pub receipt: bool,
}

/// An event that was recorded.
#[derive(Debug)]
pub struct Recorded {
    /// Where it is.
    pub appended: Appended,
    /// Its receipt, if one was wanted.
    pub receipt: Option<Receipt>,
}

/// An event that may be stored: nothing is wrong with it.
pub(super) struct Accepted {
    /// Registered before the event is stored, if need be.
    tenant: EventTenant,
    prepared: PreparedEvent,
    wants: Wants,
}

/// What the caller of an event wants back beside its place.
pub(super) struct Wants {
    tenant: Tenant,
    /// For a receipt, if one is wanted.
    contents: Option<LeafData>,
}

/// Receipts of events that were there already, by organization and sequence.
type Repeated = HashMap<(OrganizationId, u64), Receipt>;

/// The result of a batch: one per event, in the order of the request.
pub type BatchResult = Vec<Result<Recorded>>;

impl Events {
    /// Events are kept in the store.
    pub fn new(parts: Parts) -> Self {
        let Parts { store, clock, rules, organizations, schemas, lanes, transparency, system_log } =
            parts;
        Self { store, clock, rules, organizations, schemas, lanes, transparency, system_log }
    }

    /// Records one event. When it returns, the event is durable and in its log.
    pub async fn create(&self, caller: &Caller, new: NewEvent) -> Result<Recorded> {
        permit(caller, Operation::CreateEvent)?;
        let Accepted { tenant, prepared, wants } = self.accept(caller, new).await?;
        self.organizations.settle(tenant).await?;
        let placed = self.lanes.submit(vec![prepared]).await.map_err(|refused| refused.error)?;
        let placed = placed.into_iter().next();
        let placed = placed.ok_or_else(|| Error::Internal("a lane gave no place".to_owned()))?;
        self.recorded(placed, wants, &Repeated::new()).await
    }

    /// Records many events. With `atomic` it is one transaction: the first failure is that of the call
    /// and nothing is stored. Otherwise each event succeeds or fails by itself; only if none can be
    /// stored for a reason that is not about the events, that is the failure of the call.
    pub async fn create_batch(
        &self,
        caller: &Caller,
        batch: Vec<NewEvent>,
        atomic: bool,
    ) -> Result<BatchResult> {
        permit(caller, Operation::BatchCreateEvents)?;
        check_batch_size(batch.len())?;
        let in_batch =
            |index: usize, error: Error| error.with_prefix(&format!("requests[{index}]."));
        // Everything is checked before anything is changed.
        let mut accepted = Vec::with_capacity(batch.len());
        for (index, new) in batch.into_iter().enumerate() {
            match self.accept(caller, new).await {
                Err(error) if atomic => return Err(in_batch(index, error)),
                result => accepted.push(result),
            }
        }
        let mut prepared = Vec::with_capacity(accepted.len());
        let mut wanted = Vec::with_capacity(accepted.len());
        for (index, result) in accepted.into_iter().enumerate() {
            match self.settled(result).await {
                Ok((event, wants)) => {
                    prepared.push(event);
                    wanted.push(Ok(wants));
                }
                Err(error) if atomic => return Err(in_batch(index, error)),
                Err(error) => wanted.push(Err(error)),
            }
        }
        let places = self.place(prepared, atomic).await?;
        self.results(wanted, places).await
    }

    /// The results of events that were accepted or not, once those that were have their places.
    pub(super) async fn results(
        &self,
        wanted: Vec<Result<Wants>>,
        places: Vec<std::result::Result<Placed, LaneError>>,
    ) -> Result<BatchResult> {
        let repeated = self.repeated(&wanted, &places).await?;
        let mut places = places.into_iter();
        let mut results = Vec::with_capacity(wanted.len());
        for wants in wanted {
            results.push(match wants {
                Err(error) => Err(error),
                Ok(wants) => match places.next() {
                    Some(Ok(one)) => self.recorded(one, wants, &repeated).await,
                    Some(Err(error)) => Err(error.into()),
                    None => Err(Error::Internal("the lanes gave too few places".to_owned())),
                },
            });
        }
        Ok(results)
    }

    /// Registers the organization of an accepted event, if need be.
    pub(super) async fn settled(
        &self,
        accepted: Result<Accepted>,
    ) -> Result<(PreparedEvent, Wants)> {
        let Accepted { tenant, prepared, wants } = accepted?;
        self.organizations.settle(tenant).await?;
        Ok((prepared, wants))
    }

    /// Has the events of a batch written.
    async fn place(
        &self,
        events: Vec<PreparedEvent>,
        atomic: bool,
    ) -> Result<Vec<std::result::Result<Placed, LaneError>>> {
        if atomic {
            let placed = self.lanes.submit(events).await.map_err(|refused| refused.error)?;
            return Ok(placed.into_iter().map(Ok).collect());
        }
        let placed = self.lanes.submit_each(events).await;
        let stored_none = placed.iter().all(std::result::Result::is_err);
        match placed.first() {
            Some(Err(error)) if stored_none && !error.is_about_content() => {
                Err(error.clone().into())
            }
            _ => Ok(placed),
        }
    }

    /// The wanted receipts of those events of a batch that were there already, read together. A log
    /// whose receipts cannot all be made is left out, unless the database is away.
    async fn repeated(
        &self,
        wanted: &[Result<Wants>],
        places: &[std::result::Result<Placed, LaneError>],
    ) -> Result<Repeated> {
        let mut logs: BTreeMap<&OrganizationId, (&Tenant, BTreeSet<u64>)> = BTreeMap::new();
        for (wants, place) in wanted.iter().flatten().zip(places) {
            if let Ok(placed) = place
                && wants.contents.is_some()
                && !receipts::is_fresh(placed)
            {
                let tenant = &wants.tenant;
                let log = logs.entry(&tenant.organization).or_insert((tenant, BTreeSet::new()));
                log.1.insert(placed.appended.sequence);
            }
        }
        let mut repeated = Repeated::new();
        for (organization, (tenant, sequences)) in logs {
            match self.transparency.receipts(tenant, &sequences).await {
                Err(error) if error.code() == Code::Unavailable => return Err(error),
                receipts => repeated.extend(
                    receipts
                        .into_iter()
                        .flatten()
                        .map(|receipt| ((organization.clone(), receipt.sequence), receipt)),
                ),
            }
        }
        Ok(repeated)
    }

    /// Adds what the caller wants to the place of an event.
    async fn recorded(
        &self,
        placed: Placed,
        wants: Wants,
        repeated: &Repeated,
    ) -> Result<Recorded> {
        let Some(contents) = wants.contents else {
            return Ok(Recorded { appended: placed.appended, receipt: None });
        };
        let signer = self.transparency.signer();
        let (tenant, sequence) = (&wants.tenant, placed.appended.sequence);
        let receipt = match receipts::fresh(signer, &placed, contents)? {
            Some(receipt) => receipt,
            // It was there already.
            None => match repeated.get(&(tenant.organization.clone(), sequence)) {
                Some(receipt) => receipt.clone(),
                None => self.transparency.receipt(tenant, sequence).await?,
            },
        };
        Ok(Recorded { appended: placed.appended, receipt: Some(receipt) })
    }

    /// Checks everything about an event; changes nothing. An unknown organization wins over an
    /// unknown action, as in WorkOS.
    pub(super) async fn accept(&self, caller: &Caller, new: NewEvent) -> Result<Accepted> {
        let mut violations = Violations::default();
        check_id("organization_id", &new.organization_id, &mut violations);
        let key = new.idempotency.supplied();
        violations.optional_text("idempotency_key", key, limits::SHORT_TEXT_CHARS);
        let event = match new.event.map(|draft| draft.validate(self.clock.now())) {
            None => {
                violations.add("event", Reason::Required, "event is required");
                None
            }
            Some(Err(found)) => {
                violations.extend(found);
                None
            }
            Some(Ok(event)) => Some(event),
        };
        let Some(event) = event else {
            return Err(violations.into_found().into());
        };
        violations.into_result(())?;
        let tenant = self.organizations.for_event(caller, &new.organization_id).await?;
        self.check_schema(tenant.tenant(), &event).await?;
        let prepared = self.prepare(tenant.tenant().clone(), event, &new.idempotency)?;
        let contents = new.receipt.then(|| receipts::contents(&prepared));
        let wants = Wants { tenant: tenant.tenant().clone(), contents };
        Ok(Accepted { tenant, prepared, wants })
    }

    /// Holds the event against the schema of its action's version.
    async fn check_schema(&self, tenant: &Tenant, event: &Event) -> Result<()> {
        let mismatch = |field: &str, description: String| {
            Err(Error::InvalidEvent(vec![Violation::new(field, Reason::Unknown, description)]))
        };
        let version = event.version;
        match self.schemas.lookup(&tenant.environment, &event.action, version).await? {
            Lookup::Schema(schema) => {
                let found = schema.check(event, self.rules.target_rule);
                if found.is_empty() { Ok(()) } else { Err(Error::InvalidEvent(found)) }
            }
            Lookup::UnknownVersion => {
                mismatch("event.version", format!("the action has no version {version}"))
            }
            Lookup::UnknownAction if self.rules.require_schema => {
                let how = "the action has no schema yet; create one first";
                mismatch("event.action", how.to_owned())
            }
            Lookup::UnknownAction => Ok(()),
        }
    }

    /// Makes the event canonical and hashes it.
    fn prepare(
        &self,
        tenant: Tenant,
        event: Event,
        idempotency: &Idempotency,
    ) -> Result<PreparedEvent> {
        let Tenant { environment, organization } = tenant;
        let idempotency_key = match idempotency {
            Idempotency::Off => None,
            Idempotency::Keyed(supplied) => {
                let sent = canonical_sent_event(&event)
                    .map_err(|error| Error::Internal(error.to_string()))?;
                Some(IdempotencyKey::derive(&environment, &organization, supplied, &sent))
            }
        };
        prepared(organization, event, self.clock.now(), idempotency_key)
    }
}

fn check_batch_size(size: usize) -> Result<()> {
    let mut violations = Violations::default();
    if size == 0 {
        let description = "requests must have at least one entry";
        violations.add("requests", Reason::Required, description);
    }
    if size > limits::BATCH_EVENTS {
        let description = format!("requests must have at most {} entries", limits::BATCH_EVENTS);
        violations.add("requests", Reason::TooMany, description);
    }
    Ok(violations.into_result(())?)
}
