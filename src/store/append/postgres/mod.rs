//! Appending on PostgreSQL.
//!
//! A writer remembers the heads that it moved last, and first tries the whole batch as one statement,
//! which is its own transaction: it takes effect only if no other replica moved a head or stored a key
//! meanwhile, and one round trip is all an idle caller waits for. Otherwise the heads are locked and
//! read in a transaction of several statements, which always gets through.

mod read;
mod write;

use std::{collections::HashMap, time::Duration};

use sea_orm::DbErr;
use sqlx::{Connection as _, Executor, PgConnection, postgres::PgConnectOptions};
use tokio::time::{Instant, timeout};

use self::{
    read::{known_ids, known_keys, lock_heads},
    write::write,
};
use super::{
    BatchTimes, Failure, PreparedEvent, Written,
    plan::{Beforehand, Heads, Known, Plan, organizations},
};
use crate::{
    domain::ids::OrganizationId,
    merkle::Frontier,
    store::{StoreError, connect::COMMIT_IS_DURABLE, pool::Losses},
};

/// Most heads that a writer remembers; more would only cost memory.
const REMEMBERED_HEADS: usize = 20_000;
/// For so many batches after another replica moved a head, heads are locked at once: replicas that
/// write the same logs would only waste statements otherwise.
const CAREFUL_BATCHES: u32 = 32;

/// A connection that does not answer for so long is given up: what cut it off may never tell. The
/// server itself ends statements earlier or later; locks keep the next attempt correct either way.
const ANSWER: Duration = Duration::from_secs(15);

/// A connection that rested for longer is asked for a sign of life before it is used, and for how long.
const TRUSTED: Duration = Duration::from_secs(3);
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// The statements of a lane are few and always the same, and the right plan for each is plain: take
/// the rows of the arrays in their order, and find what belongs to each by its index. So they are
/// planned once, and never as a scan of a table. The order matters where rows are locked.
const PLANNING: [(&str, &str); 5] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("jit", "off"),
];

type Result<T> = std::result::Result<T, Failure>;

/// A connection that appends.
#[derive(Debug)]
pub struct Writer {
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    /// When that was last used.
    used: Instant,
    heads: HashMap<OrganizationId, Frontier>,
    careful: u32,
    losses: Losses,
}

impl Writer {
    /// Connects when it is first used.
    pub fn new(options: PgConnectOptions, losses: Losses) -> Self {
        let options = options.options(PLANNING);
        let used = Instant::now();
        Self { options, connection: None, used, heads: HashMap::new(), careful: 0, losses }
    }

    /// Tells the server that nothing more comes.
    pub async fn close(mut self) {
        if let Some(connection) = self.connection.take() {
            // The server also notices when the socket closes.
            let _ = connection.close().await;
        }
    }

    /// One attempt at a batch. `lost_before`: an earlier attempt may have stored it.
    pub async fn append(
        &mut self,
        events: &[PreparedEvent],
        times: BatchTimes,
        lost_before: bool,
    ) -> Result<Written> {
        let losses = self.losses.clone();
        let attempt =
            async { Ok::<_, DbErr>(self.try_both_ways(events, times, lost_before).await) };
        let attempt = losses.unless_lost(Box::pin(attempt));
        let result = match timeout(ANSWER, attempt).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => Err(Failure::Lost(StoreError::no_answer())),
        };
        match &result {
            Ok(written) => self.remember(written),
            Err(failure) => {
                for event in events {
                    self.heads.remove(&event.organization_id);
                }
                // What is about the batch leaves the connection sound; after anything else, such as
                // a server that turned out to be a standby, another one may do better.
                if !matches!(
                    failure,
                    Failure::Conflict(_) | Failure::Refused(StoreError::Inconsistent { .. })
                ) {
                    self.connection = None;
                }
            }
        }
        result
    }

    async fn try_both_ways(
        &mut self,
        events: &[PreparedEvent],
        times: BatchTimes,
        lost_before: bool,
    ) -> Result<Written> {
        if self.used.elapsed() > TRUSTED && !is_alive(self.connection.as_mut()).await {
            self.connection = None;
        }
        let connection = connected(&mut self.connection, &self.options).await?;
        self.used = Instant::now();
        self.careful = self.careful.saturating_sub(1);
        if self.careful == 0
            && !lost_before
            && let Some(heads) = remembered(&self.heads, events)
        {
            match at_once(connection, heads, events, times).await? {
                Some(written) => return Ok(written),
                None => self.careful = CAREFUL_BATCHES,
            }
        }
        locked(connection, &self.heads, events, times, lost_before).await
    }

    fn remember(&mut self, written: &Written) {
        if self.heads.len() + written.trees.len() > REMEMBERED_HEADS {
            self.heads.clear();
        }
        for (organization, growth) in &written.trees {
            self.heads.insert(organization.clone(), growth.after().clone());
        }
    }
}

/// Whether the other end is still there. What lies between may have forgotten a connection that rested, and
/// a server that took over never knew it: the first batch would wait for an answer in vain.
async fn is_alive(connection: Option<&mut PgConnection>) -> bool {
    let Some(connection) = connection else { return false };
    matches!(timeout(SIGN_OF_LIFE, connection.ping()).await, Ok(Ok(())))
}

async fn connected<'a>(
    connection: &'a mut Option<PgConnection>,
    options: &PgConnectOptions,
) -> Result<&'a mut PgConnection> {
    if connection.is_none() {
        let mut fresh = PgConnection::connect_with(options).await?;
        fresh.execute(COMMIT_IS_DURABLE).await?;
        *connection = Some(fresh);
    }
    let gone = || Failure::Refused(StoreError::inconsistent("lane", "connection"));
    connection.as_mut().ok_or_else(gone)
}

/// The heads of the batch's logs, if all are remembered.
fn remembered(
    heads: &HashMap<OrganizationId, Frontier>,
    events: &[PreparedEvent],
) -> Option<Heads> {
    let wanted = organizations(events);
    wanted.into_iter().map(|id| Some((id.clone(), heads.get(id)?.clone()))).collect()
}

/// Tries the batch on top of the remembered heads. `None` if they are out of date, or an event with
/// one of its idempotency keys was stored meanwhile: then nothing was written.
async fn at_once(
    connection: &mut PgConnection,
    heads: Heads,
    events: &[PreparedEvent],
    times: BatchTimes,
) -> Result<Option<Written>> {
    let keys = known_keys(connection, events, times.keys_since).await?;
    let plan = Plan::new(events, Beforehand { heads, keys, ..Beforehand::default() })?;
    match write(connection, &plan, times).await {
        Ok(()) => Ok(Some(Written { appended: plan.appended, trees: plan.trees })),
        Err(error) if is_out_of_date(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether [`write`] found that something was changed by others: the division by zero with which its
/// check fails, or a sequence or key that is taken.
fn is_out_of_date(error: &sqlx::Error) -> bool {
    const DIVISION_BY_ZERO: &str = "22012";
    const UNIQUE_VIOLATION: &str = "23505";
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| code == DIVISION_BY_ZERO || code == UNIQUE_VIOLATION)
}

/// Writes the batch in a transaction that locks the heads first.
async fn locked(
    connection: &mut PgConnection,
    remembered: &HashMap<OrganizationId, Frontier>,
    events: &[PreparedEvent],
    times: BatchTimes,
    lost_before: bool,
) -> Result<Written> {
    let mut transaction = connection.begin().await?;
    match write_locked(&mut transaction, remembered, events, times, lost_before).await {
        Ok(written) => {
            transaction.commit().await?;
            Ok(written)
        }
        Err(failure) => {
            // At once: a transaction that is only dropped would keep its locks until the connection
            // is used again.
            transaction.rollback().await?;
            Err(failure)
        }
    }
}

async fn write_locked(
    connection: &mut PgConnection,
    remembered: &HashMap<OrganizationId, Frontier>,
    events: &[PreparedEvent],
    times: BatchTimes,
    lost_before: bool,
) -> Result<Written> {
    let heads = lock_heads(connection, &organizations(events)).await?;
    report_lost_events(remembered, &heads);
    // Read after the locks: what others stored before is seen, and nothing can be added any more.
    let keys = known_keys(connection, events, times.keys_since).await?;
    let ids = if lost_before { known_ids(connection, events).await? } else { Known::new() };
    let plan = Plan::new(events, Beforehand { heads, keys, ids })?;
    write(connection, &plan, times).await?;
    Ok(Written { appended: plan.appended, trees: plan.trees })
}

/// A log never shrinks. If it did, the database was set back, and somebody must be told.
fn report_lost_events(remembered: &HashMap<OrganizationId, Frontier>, heads: &Heads) {
    for (organization, head) in heads {
        let before = remembered.get(organization).map_or(0, Frontier::size);
        if before > head.size() {
            tracing::error!(
                %organization, before, now = head.size(),
                "the log has fewer events than were acknowledged: the database was set back"
            );
        }
    }
}
