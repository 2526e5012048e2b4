//! Reading events back, one or a page.

use sea_orm::{
    ColumnTrait, Condition, ExprTrait, QueryFilter, QuerySelect, QueryTrait, Select,
    sea_query::{Expr, SimpleExpr},
};

use super::{
    Engine, Result, Store, StoreError,
    append::separated,
    entity::{event, log_head, log_retention},
    fixed, from_column,
    paging::read_page,
    to_column,
};
use crate::domain::{
    caller::Tenant,
    event::{EventRecord, LoggedEvent},
    filter::{EventFilter, EventRange},
    ids::{EventId, OrganizationId},
    page::{Page, PageRequest},
};

impl Store {
    /// How many events an organization's log holds: the sequence of the next one.
    pub async fn log_size(&self, tenant: &Tenant) -> Result<u64> {
        let head = log_head::scoped(&tenant.organization).one(self.reader()).await?;
        head.map_or(Ok(0), |head| from_column(head.size, "log_heads", "size"))
    }

    /// The event with that id.
    pub async fn get_event(&self, tenant: &Tenant, id: &EventId) -> Result<Option<EventRecord>> {
        let query =
            present(self.engine, &tenant.organization).filter(event::Column::Id.eq(id.as_str()));
        query.one(self.reader()).await?.map(|row| record(&row)).transpose()
    }

    /// A page of events in the order of their log. It ends early when they are large.
    pub async fn list_events(
        &self,
        tenant: &Tenant,
        filter: &EventFilter,
        range: &EventRange,
        request: &PageRequest<u64>,
    ) -> Result<Page<EventRecord>> {
        let query = selection(self.engine, tenant, matching(self.engine, filter, range));
        let request = request.clone().map_cursor(|at| Ok::<_, StoreError>(to_column(at)))?;
        let size = |row: &event::Model| row.payload.len();
        let page =
            read_page(self.scanner(), query, event::Column::Sequence, &request, size).await?;
        page.try_map(|row| record(&row))
    }
}

/// The condition that selects by content and range.
pub(super) fn matching(engine: Engine, filter: &EventFilter, range: &EventRange) -> Condition {
    use event::Column::{Action, ActorId, ActorName, OccurredAt, Sequence};
    let any_of = |column: event::Column, values: &[String]| {
        (!values.is_empty()).then(|| column.is_in(values.iter().cloned()))
    };
    let any_part = |column: &'static str, values: &[String]| {
        let parts = values.iter().map(|value| engine.contains(column, separated(value)));
        (!values.is_empty()).then(|| parts.fold(Condition::any(), Condition::add))
    };
    Condition::all()
        .add_option(any_of(Action, &filter.actions))
        .add_option(any_of(ActorId, &filter.actor_ids))
        .add_option(any_of(ActorName, &filter.actor_names))
        .add_option(any_part("target_types", &filter.target_types))
        .add_option(any_part("target_ids", &filter.target_ids))
        .add_option(range.occurred_from.map(|from| OccurredAt.gte(from.micros())))
        .add_option(range.occurred_until.map(|until| OccurredAt.lte(until.micros())))
        .add_option(range.sequence_from.map(|from| Sequence.gte(to_column(from))))
        .add_option(range.sequence_until.map(|until| Sequence.lte(to_column(until))))
}

fn record(row: &event::Model) -> Result<EventRecord> {
    let logged: LoggedEvent = serde_json::from_slice(&row.payload)
        .map_err(|_| StoreError::inconsistent("events", "payload"))?;
    Ok(EventRecord {
        sequence: from_column(row.sequence, "events", "sequence")?,
        logged,
        leaf_hash: fixed(&row.leaf_hash, "events", "leaf_hash")?,
    })
}

/// The rows of one log, narrowed.
pub(super) fn selection(
    engine: Engine,
    tenant: &Tenant,
    condition: Condition,
) -> Select<event::Entity> {
    present(engine, &tenant.organization).filter(condition)
}

/// The rows of one log that are events: not those of erased ones, of which only the leaf hash is left.
pub(super) fn present(engine: Engine, organization: &OrganizationId) -> Select<event::Entity> {
    // Of no row, too, an aggregate is one row.
    let below = log_retention::scoped(organization)
        .select_only()
        .expr(Expr::cust("COALESCE(MAX(erased_below), 0)"))
        .into_query();
    let below = SimpleExpr::SubQuery(None, Box::new(below.into()));
    event::scoped(organization).filter(engine.sequence_with_bound().gte(below))
}
