//! Callers of every kind: patient ones, hasty ones, ones that hang up, ones that repeat.

use std::{
    error::Error as _,
    sync::{Arc, RwLock},
    time::Duration,
};

use audit_logs::{
    client::AuditLogs,
    proto::v1::{
        BatchCreateEventsRequest, CreateEventRequest, CreateEventResponse,
        batch_create_events_result::Result as ItemResult,
    },
};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

use super::ledger::{Ledger, count};
use crate::support::{create_event, metadata, until};

/// The field of the metadata that has an event's number.
pub const NUMBER: &str = "number";
pub const ACTION: &str = "doc.read";
/// How the ledger names what the service itself did not serve.
pub const UNAVAILABLE: &str = "Unavailable";
pub const RESOURCE_EXHAUSTED: &str = "ResourceExhausted";
/// How long a caller waits before it calls again after a failure.
const REST: Duration = Duration::from_millis(5);

/// An event of a call.
#[derive(Debug, Clone)]
pub struct Item {
    pub number: u64,
    pub organization: String,
    pub keyed: bool,
    /// Whether nothing is wrong with it.
    pub valid: bool,
    /// Bytes that it has beside the usual ones.
    pub padding: usize,
}

impl Item {
    /// The same message each time.
    pub fn request(&self) -> CreateEventRequest {
        let mut request = create_event(&self.organization, ACTION);
        let event = request.event.as_mut().unwrap();
        #[expect(clippy::cast_precision_loss, reason = "numbers are small")]
        let number = self.number as f64;
        let mut fields = metadata(&[(NUMBER, number.into())]).fields;
        for (index, start) in (0..self.padding).step_by(500).enumerate() {
            let text = "x".repeat(500.min(self.padding - start));
            fields.extend(metadata(&[(&format!("padding_{index}"), (&*text).into())]).fields);
        }
        event.metadata = Some(prost_types::Struct { fields });
        if !self.valid {
            event.actor = None;
        }
        if self.keyed {
            request.idempotency_key = format!("key {}", self.number);
        }
        request
    }
}

/// A CreateEvent, or a BatchCreateEvents.
#[derive(Debug, Clone)]
pub struct Call {
    pub items: Vec<Item>,
    pub batch: bool,
    pub atomic: bool,
}

impl Call {
    /// What of it can be sent again without doubling anything.
    pub fn repeatable(&self) -> Option<Self> {
        let keyed: Vec<_> =
            self.items.iter().filter(|item| item.keyed && item.valid).cloned().collect();
        (!keyed.is_empty()).then(|| Self { items: keyed, ..self.clone() })
    }
}

/// How long a caller has patience.
#[derive(Debug, Clone, Copy)]
enum Patience {
    Unlimited,
    /// It says so to the server.
    Deadline(Duration),
    /// It hangs up.
    HangsUp(Duration),
}

/// The servers, as their clients reach them now.
#[derive(Clone, Default)]
pub struct Fleet(Arc<RwLock<Vec<AuditLogs>>>);

impl Fleet {
    pub fn of(clients: Vec<AuditLogs>) -> Self {
        Self(Arc::new(RwLock::new(clients)))
    }

    /// Puts a server in the place of another.
    pub fn replace(&self, index: usize, client: AuditLogs) {
        self.0.write().unwrap()[index] = client;
    }

    fn any(&self, random: &mut StdRng) -> AuditLogs {
        let clients = self.0.read().unwrap();
        clients[random.random_range(0..clients.len())].clone()
    }
}

/// What the load is like.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub writers: u64,
    pub organizations: u32,
    /// Bytes in each event beside the usual ones.
    pub padding: usize,
}

impl Default for Shape {
    fn default() -> Self {
        Self { writers: 24, organizations: 20, padding: 0 }
    }
}

/// Writers at work.
pub struct Storm {
    writers: JoinSet<()>,
    over: CancellationToken,
}

impl Storm {
    pub fn begin(ledger: &Arc<Ledger>, fleet: &Fleet, shape: Shape, random: &mut StdRng) -> Self {
        let (mut writers, over) = (JoinSet::new(), CancellationToken::new());
        for _ in 0..shape.writers {
            let random = StdRng::seed_from_u64(random.random());
            let (ledger, fleet) = (ledger.clone(), fleet.clone());
            let mut writer = Caller { ledger, fleet, shape, random };
            let over = over.clone();
            writers.spawn(async move {
                while !over.is_cancelled() {
                    writer.work(&over).await;
                }
            });
        }
        Self { writers, over }
    }

    /// Waits until every writer has ended its call.
    pub async fn end(mut self) {
        self.over.cancel();
        while let Some(ended) = self.writers.join_next().await {
            ended.unwrap();
        }
    }
}

/// Repeats what was not answered and has an idempotency key, until it is.
pub async fn settle(ledger: &Arc<Ledger>, fleet: &Fleet, random: &mut StdRng) {
    let random = StdRng::seed_from_u64(random.random());
    let (shape, fleet) = (Shape::default(), fleet.clone());
    let mut caller = Caller { ledger: ledger.clone(), fleet, shape, random };
    for call in ledger.open_calls() {
        until("a repetition is answered", async || caller.repeat(&call).await.then_some(())).await;
    }
}

/// One that calls, and enters in the ledger what becomes of it.
struct Caller {
    ledger: Arc<Ledger>,
    fleet: Fleet,
    shape: Shape,
    random: StdRng,
}

impl Caller {
    /// Makes a call of some kind; most of those that can be repeated are, until the storm is over.
    async fn work(&mut self, over: &CancellationToken) {
        let call = self.invent();
        let patience = match self.random.random_range(0..20) {
            0 => Patience::Deadline(Duration::from_millis(self.random.random_range(11..40))),
            1 => Patience::HangsUp(Duration::from_micros(self.random.random_range(1..20_000))),
            _ => Patience::Unlimited,
        };
        self.ledger.open(&call);
        if self.send(&call, patience, false).await {
            if self.random.random_ratio(1, 20)
                && let Some(call) = call.repeatable()
            {
                // It lost the answer.
                self.repeat(&call).await;
            }
            return;
        }
        let Some(call) = call.repeatable() else { return tokio::time::sleep(REST).await };
        while self.random.random_ratio(3, 4) && !over.is_cancelled() {
            tokio::time::sleep(REST).await;
            if self.repeat(&call).await {
                return;
            }
        }
    }

    async fn repeat(&mut self, call: &Call) -> bool {
        count(&self.ledger.tally.retried);
        self.send(call, Patience::Unlimited, true).await
    }

    fn invent(&mut self) -> Call {
        let (batch, atomic) = match self.random.random_range(0..10) {
            0 => (true, true),
            1 | 2 => (true, false),
            _ => (false, false),
        };
        let size = if batch { self.random.random_range(1..=20) } else { 1 };
        // An atomic batch can only be repeated as a whole.
        let all_keyed = self.random.random();
        let items = (0..size).map(|_| {
            let organization = self.random.random_range(0..self.shape.organizations);
            let organization = format!("org_{organization}");
            let number = self.ledger.enter(&organization);
            let keyed = if atomic { all_keyed } else { self.random.random() };
            let valid = atomic || self.random.random_ratio(19, 20);
            Item { number, organization, keyed, valid, padding: self.shape.padding }
        });
        Call { items: items.collect(), batch, atomic }
    }

    /// Makes a call, enters what comes of it, and returns whether it was answered for good.
    async fn send(&mut self, call: &Call, patience: Patience, again: bool) -> bool {
        let client = self.fleet.any(&mut self.random);
        let answer = async {
            if call.batch {
                send_batch(client, call, patience).await
            } else {
                let result = send_single(client, &call.items[0], patience).await;
                // A call of its own fails as a whole unless the event is at fault.
                match result {
                    Err(status) if status.code() == Code::InvalidArgument => Ok(vec![Err(status)]),
                    result => result.map(|created| vec![Ok(created)]),
                }
            }
        };
        let result = match patience {
            Patience::HangsUp(after) => tokio::time::timeout(after, answer).await.ok(),
            Patience::Deadline(_) | Patience::Unlimited => Some(answer.await),
        };
        let results = match result {
            None => {
                self.ledger.tally.failed("HungUp");
                return false;
            }
            Some(Err(status)) => {
                self.failed(&call.items, &status, patience, again);
                return false;
            }
            Some(Ok(results)) => results,
        };
        assert_eq!(results.len(), call.items.len());
        let mut is_answered = true;
        for (item, result) in call.items.iter().zip(results) {
            match result {
                Ok(created) => {
                    assert!(item.valid, "{item:?} was stored");
                    self.ledger.acknowledge(item.number, created, again);
                }
                Err(status) if !item.valid => {
                    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
                    self.ledger.refuse(item.number);
                }
                Err(status) => {
                    self.failed(std::slice::from_ref(item), &status, patience, again);
                    is_answered &= !item.keyed;
                }
            }
        }
        if is_answered {
            self.ledger.close(call);
        }
        is_answered
    }

    /// Holds a failure of some events against the contract and enters it.
    fn failed(&self, items: &[Item], status: &Status, patience: Patience, again: bool) {
        let how = match status.code() {
            // tonic's word for a deadline that it noticed itself.
            Code::Cancelled if matches!(patience, Patience::Deadline(_)) => "DeadlineExceeded",
            // Made by the client, of a connection that broke.
            _ if status.source().is_some() => "ConnectionLost",
            Code::DeadlineExceeded => "DeadlineExceeded",
            Code::Unavailable => UNAVAILABLE,
            Code::ResourceExhausted => RESOURCE_EXHAUSTED,
            code => panic!("{code:?} is no answer to {items:?}: {status:?}"),
        };
        if [UNAVAILABLE, RESOURCE_EXHAUSTED].contains(&how) {
            assert!(status.get_details_retry_info().is_some(), "no RetryInfo: {status:?}");
        }
        if how == RESOURCE_EXHAUSTED && !again {
            // Nothing was stored then.
            items.iter().filter(|item| !item.keyed).for_each(|item| {
                self.ledger.refuse(item.number);
            });
        }
        self.ledger.tally.failed(how);
    }
}

fn with_patience<T>(message: T, patience: Patience) -> Request<T> {
    let mut request = Request::new(message);
    if let Patience::Deadline(limit) = patience {
        request.set_timeout(limit);
    }
    request
}

async fn send_single(
    mut client: AuditLogs,
    item: &Item,
    patience: Patience,
) -> Result<CreateEventResponse, Status> {
    let request = with_patience(item.request(), patience);
    Ok(client.create_event(request).await?.into_inner())
}

async fn send_batch(
    mut client: AuditLogs,
    call: &Call,
    patience: Patience,
) -> Result<Vec<Result<CreateEventResponse, Status>>, Status> {
    let requests = call.items.iter().map(Item::request).collect();
    let request = BatchCreateEventsRequest { requests, atomic: call.atomic };
    let response = client.batch_create_events(with_patience(request, patience)).await?;
    let result = |result: Option<ItemResult>| match result.unwrap() {
        ItemResult::Created(created) => Ok(created),
        ItemResult::Error(error) => Err(Status::with_details(
            Code::from_i32(error.code),
            error.message.clone(),
            prost::Message::encode_to_vec(&error).into(),
        )),
    };
    Ok(response.into_inner().results.into_iter().map(|item| result(item.result)).collect())
}
