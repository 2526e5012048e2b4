//! What was sent, what was answered, and what must therefore be in the logs.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use audit_logs::{
    client::AuditLogs,
    proto::v1::{CreateEventResponse, EventRecord, ListEventsRequest, SortOrder},
};
use prost_types::value::Kind;
use sea_orm::{ConnectionTrait, Database, Statement};
use tonic::Code;

use super::{
    load::{Call, NUMBER, RESOURCE_EXHAUSTED, UNAVAILABLE},
    receipts::Receipts,
};
use crate::support::until;

/// Where an event is, as an answer or a record tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    event_id: String,
    sequence: u64,
    leaf_hash: Vec<u8>,
}

/// What is known of an event that was sent.
#[derive(Debug)]
enum Fate {
    /// It was not answered, or not in a way that tells: it may be there once.
    Unknown,
    /// It is there.
    Acknowledged(Place),
    /// It is not there.
    Refused,
}

#[derive(Debug)]
struct Entry {
    organization: String,
    fate: Fate,
    /// Where it was read.
    read: Option<Place>,
}

#[derive(Default)]
struct State {
    /// By number.
    events: Vec<Entry>,
    /// Calls with idempotency keys that are still to be answered.
    open: BTreeMap<u64, Call>,
    /// The numbers of each atomic batch.
    atomic: Vec<Vec<u64>>,
    /// How far each log was read.
    lengths: HashMap<String, u64>,
    ids: HashSet<String>,
}

/// What a scenario did, for its report.
#[derive(Default)]
pub struct Tally {
    pub disasters: AtomicU64,
    pub acknowledged: AtomicU64,
    pub duplicates: AtomicU64,
    pub retried: AtomicU64,
    pub checks: AtomicU64,
    /// How often a call ended without an answer, by what the client was told.
    failures: Mutex<BTreeMap<&'static str, u64>>,
}

impl Tally {
    /// Counts a call that failed.
    pub fn failed(&self, how: &'static str) {
        *self.failures.lock().unwrap().entry(how).or_default() += 1;
    }

    /// How many calls the service itself did not serve.
    pub fn refusals(&self) -> u64 {
        let failures = self.failures.lock().unwrap();
        [UNAVAILABLE, RESOURCE_EXHAUSTED].iter().filter_map(|code| failures.get(code)).sum()
    }
}

/// Adds one.
pub fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::SeqCst);
}

/// The book of one scenario.
#[derive(Default)]
pub struct Ledger {
    state: Mutex<State>,
    pub tally: Tally,
    pub receipts: Receipts,
}

impl Ledger {
    fn state(&self) -> MutexGuard<'_, State> {
        // A check that failed leaves it as it is; `teeth` goes on after that.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters an event that is about to be sent and returns its number.
    pub fn enter(&self, organization: &str) -> u64 {
        let organization = organization.to_owned();
        let mut state = self.state();
        state.events.push(Entry { organization, fate: Fate::Unknown, read: None });
        u64::try_from(state.events.len()).unwrap() - 1
    }

    /// Remembers a call that is about to be made.
    pub fn open(&self, call: &Call) {
        let mut state = self.state();
        let numbers = call.items.iter().map(|item| item.number);
        if call.atomic {
            state.atomic.push(numbers.collect());
        }
        if let Some(call) = call.repeatable() {
            state.open.insert(call.items[0].number, call);
        }
    }

    /// The calls that can be repeated until they are answered.
    pub fn open_calls(&self) -> Vec<Call> {
        self.state().open.values().cloned().collect()
    }

    /// Forgets what had to be repeated: it was answered.
    pub fn close(&self, call: &Call) {
        if let Some(call) = call.repeatable() {
            self.state().open.remove(&call.items[0].number);
        }
    }

    /// Enters an answer; `again` if the event was sent before.
    pub fn acknowledge(&self, number: u64, answer: CreateEventResponse, again: bool) {
        let CreateEventResponse { event_id, sequence, leaf_hash, duplicate, receipt, .. } = answer;
        if let Some(receipt) = receipt {
            assert_eq!((&receipt.leaf_hash, receipt.sequence), (&leaf_hash, sequence));
            self.receipts.keep(receipt);
        }
        assert_eq!(leaf_hash.len(), 32);
        let place = Place { event_id, sequence, leaf_hash };
        let mut state = self.state();
        let entry = &mut state.events[at(number)];
        match &entry.fate {
            Fate::Unknown => {
                assert!(again || !duplicate, "{number} is new, but the answer is {place:?}");
                count(&self.tally.acknowledged);
            }
            Fate::Acknowledged(first) => {
                assert_eq!((&place, duplicate), (first, true), "{number} was answered twice");
            }
            Fate::Refused => panic!("{number} was refused and cannot be {place:?}"),
        }
        if duplicate {
            count(&self.tally.duplicates);
        }
        entry.fate = Fate::Acknowledged(place);
    }

    /// Enters that an event was not stored, for sure.
    pub fn refuse(&self, number: u64) {
        let mut state = self.state();
        let entry = &mut state.events[at(number)];
        assert!(!matches!(entry.fate, Fate::Acknowledged(_)), "{number} was acknowledged before");
        entry.fate = Fate::Refused;
    }

    /// How many events were acknowledged.
    pub fn acknowledged(&self) -> u64 {
        self.tally.acknowledged.load(Ordering::SeqCst)
    }

    /// Waits until so many more were acknowledged.
    pub async fn wait_for(&self, more: u64) {
        let enough = self.acknowledged() + more;
        until("enough was acknowledged", async || (self.acknowledged() >= enough).then_some(()))
            .await;
    }

    /// All that must hold of the logs whenever nobody writes: reads what is new in them since the
    /// last time and holds it against the book.
    pub async fn check(&self, client: &AuditLogs, database_url: &str) {
        let heads = until("the logs stand still", async || {
            let heads = heads(database_url).await;
            let organizations: BTreeSet<_> = {
                let state = self.state();
                state.events.iter().map(|entry| entry.organization.clone()).collect()
            };
            for organization in organizations {
                // An organization is registered when its first event comes.
                if heads.contains_key(&organization) {
                    self.read(client.clone(), &organization).await?;
                }
            }
            // What nobody waits for any more may still have been stored meanwhile.
            (heads == self::heads(database_url).await).then_some(heads)
        })
        .await;
        self.compare(&heads);
        count(&self.tally.checks);
    }

    /// Forgets what was read: the next check reads each log from its start.
    pub fn read_again(&self) {
        let mut state = self.state();
        state.lengths.clear();
        state.ids.clear();
        state.events.iter_mut().for_each(|entry| entry.read = None);
    }

    /// Reads what is new in a log; `None` if the service says that its database is away, as it does once
    /// more soon after that was back, when it notices that its connections are not the ones they were.
    async fn read(&self, mut client: AuditLogs, organization: &str) -> Option<()> {
        let start = self.state().lengths.get(organization).copied().unwrap_or_default();
        let mut request = ListEventsRequest {
            organization_id: organization.to_owned(),
            sequence_start: Some(start),
            limit: 100,
            order: SortOrder::Asc.into(),
            ..Default::default()
        };
        loop {
            let page = match client.list_events(request.clone()).await {
                Err(status) if status.code() == Code::Unavailable => return None,
                page => page.unwrap().into_inner(),
            };
            let mut state = self.state();
            page.events.into_iter().for_each(|record| state.take(organization, record));
            request.after = page.list_metadata.unwrap().after;
            if request.after.is_empty() {
                return Some(());
            }
        }
    }

    fn compare(&self, heads: &HashMap<String, (u64, u64)>) {
        let state = self.state();
        for (organization, (size, rows)) in heads {
            let read = state.lengths.get(organization).copied().unwrap_or_default();
            assert_eq!((size, rows), (&read, &read), "head, rows and list of {organization}");
        }
        for (number, entry) in state.events.iter().enumerate() {
            match (&entry.fate, &entry.read) {
                (Fate::Acknowledged(place), Some(read)) => assert_eq!(place, read, "{number}"),
                (Fate::Acknowledged(place), None) => panic!("{number} is lost: {place:?}"),
                (Fate::Refused, Some(read)) => panic!("{number} was refused, but is {read:?}"),
                (Fate::Unknown, _) | (Fate::Refused, None) => {}
            }
        }
        for numbers in &state.atomic {
            let is_there = |number: &&u64| state.events[at(**number)].read.is_some();
            let there = numbers.iter().filter(is_there).count();
            assert!(there == 0 || there == numbers.len(), "{there} of the batch {numbers:?}");
        }
    }

    /// Says what was done.
    pub fn report(&self, scenario: &str) {
        let state = self.state();
        let unknown = state.events.iter().filter(|entry| matches!(entry.fate, Fate::Unknown));
        let stored = unknown.clone().filter(|entry| entry.read.is_some()).count();
        let is_refused = |entry: &&Entry| matches!(entry.fate, Fate::Refused);
        let of = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        println!(
            "torture: {scenario}: {} disasters, {} events acknowledged, {} unknown (of which \
             {stored} stored), {} refused, {} calls repeated, {} duplicates, {} checks; calls \
             failed: {:?}",
            of(&self.tally.disasters),
            of(&self.tally.acknowledged),
            unknown.count(),
            state.events.iter().filter(is_refused).count(),
            of(&self.tally.retried),
            of(&self.tally.duplicates),
            of(&self.tally.checks),
            self.tally.failures.lock().unwrap(),
        );
    }
}

impl State {
    /// Takes the next record of a log.
    fn take(&mut self, organization: &str, record: EventRecord) {
        let length = self.lengths.entry(organization.to_owned()).or_default();
        assert_eq!(record.sequence, *length, "a gap in {organization}: {record:?}");
        *length += 1;
        assert!(self.ids.insert(record.id.clone()), "an id is there twice: {record:?}");
        let number = number_of(&record);
        let entry = self.events.get_mut(at(number));
        let Some(entry) = entry else { panic!("it was never sent: {record:?}") };
        assert_eq!(entry.organization, organization, "it is in the wrong log: {record:?}");
        assert!(entry.read.is_none(), "{number} is there twice: {entry:?} and {record:?}");
        let EventRecord { id: event_id, sequence, leaf_hash, .. } = record;
        entry.read = Some(Place { event_id, sequence, leaf_hash });
    }
}

fn at(number: u64) -> usize {
    usize::try_from(number).unwrap()
}

fn number_of(record: &EventRecord) -> u64 {
    let metadata = record.event.as_ref().unwrap().metadata.as_ref().unwrap();
    let Some(Kind::NumberValue(number)) = metadata.fields[NUMBER].kind else {
        panic!("it has no number: {record:?}")
    };
    // Counted up from 0, far from where doubles have gaps.
    number.to_string().parse().unwrap()
}

/// Size of the head and number of rows of each log, at one moment.
async fn heads(database_url: &str) -> HashMap<String, (u64, u64)> {
    let sql = "SELECT organization_id, size, (SELECT COUNT(*) FROM events \
               WHERE events.organization_id = log_heads.organization_id) FROM log_heads \
               WHERE organization_id NOT LIKE 'system_environment_%'";
    let database = Database::connect(database_url).await.unwrap();
    let statement = Statement::from_string(database.get_database_backend(), sql);
    let rows = database.query_all_raw(statement).await.unwrap();
    database.close().await.unwrap();
    let number = |value: i64| u64::try_from(value).unwrap();
    let head = |row: sea_orm::QueryResult| {
        let size = (row.try_get_by_index(1).unwrap(), row.try_get_by_index(2).unwrap());
        (row.try_get_by_index(0).unwrap(), (number(size.0), number(size.1)))
    };
    rows.into_iter().map(head).collect()
}
