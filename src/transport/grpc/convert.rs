//! Between the messages of the contract and the words of the domain.

pub mod destinations;
pub mod log_streams;
pub mod organizations;

use super::values::{
    from_proto_struct, from_proto_time, to_present_struct, to_proto_struct, to_proto_time,
};
use crate::{
    domain::{
        action_schema::{
            Action, ActionSchema, ActorDefinition, SchemaDefinition, TargetDefinition,
        },
        api_key::{ApiKey, Scope},
        event::{Event, EventRecord, Metadata},
        event_draft::{ContextDraft, EventDraft, PartyDraft},
        export::{Export, ExportCompression, ExportFormat, ExportState},
        filter::{EventFilter, EventQueryDraft},
        idempotency::Idempotency,
        log_stream::LogStream,
        organization::AuditLogConfiguration,
        page::{Order, Page, PageDraft},
        retention::LegalHold,
    },
    proto::v1,
    service::{
        events::{NewEvent, Recorded},
        exports::{ExportView, NewExport},
        receipts::Receipt,
    },
};

/// What a message of CreateEvent says; nothing is refused yet.
pub fn new_event(request: v1::CreateEventRequest) -> NewEvent {
    NewEvent {
        organization_id: request.organization_id,
        event: request.event.map(event_draft),
        idempotency: Idempotency::by_key(request.idempotency_key),
        receipt: request.receipt,
    }
}

fn event_draft(event: v1::Event) -> EventDraft {
    let actor = |actor: v1::Actor| PartyDraft {
        id: actor.id,
        kind: actor.r#type,
        name: actor.name,
        metadata: from_proto_struct(actor.metadata),
    };
    let target = |target: v1::Target| PartyDraft {
        id: target.id,
        kind: target.r#type,
        name: target.name,
        metadata: from_proto_struct(target.metadata),
    };
    let context = |context: v1::Context| ContextDraft {
        location: context.location,
        user_agent: context.user_agent,
    };
    EventDraft {
        action: event.action,
        version: event.version.into(),
        occurred_at: from_proto_time(event.occurred_at),
        actor: event.actor.map(actor),
        targets: Some(event.targets.into_iter().map(target).collect()),
        context: event.context.map(context),
        metadata: from_proto_struct(event.metadata),
    }
}

pub fn created_event(recorded: Recorded) -> v1::CreateEventResponse {
    let Recorded { appended, receipt } = recorded;
    v1::CreateEventResponse {
        event_id: appended.event_id.to_string(),
        sequence: appended.sequence,
        leaf_hash: appended.leaf_hash.to_vec(),
        duplicate: appended.duplicate,
        created_at: Some(to_proto_time(appended.created_at)),
        receipt: receipt.map(self::receipt),
    }
}

/// Most bytes of the receipts in the answer to one batch. A client receives 4 MiB by default, and must
/// be able to read which of its events were stored.
const BATCH_RECEIPTS_BYTES: usize = 2 * 1_024 * 1_024;

/// Makes the results of the items of one batch, with receipts as long as there is room for them.
#[derive(Debug, Default)]
pub struct BatchedEvents {
    receipts_bytes: usize,
}

impl BatchedEvents {
    /// The result of one item.
    pub fn created(&mut self, recorded: Recorded) -> v1::CreateEventResponse {
        let mut created = created_event(recorded);
        self.receipts_bytes += created.receipt.as_ref().map_or(0, prost::Message::encoded_len);
        if self.receipts_bytes > BATCH_RECEIPTS_BYTES {
            created.receipt = None;
        }
        created
    }
}

/// An event that was erased has neither salt nor canonical bytes.
pub fn receipt(receipt: Receipt) -> v1::Receipt {
    let data = receipt.data.map(|data| (data.salt.to_vec(), data.canonical_event));
    let (salt, canonical_event) = data.unwrap_or_default();
    v1::Receipt {
        event_id: receipt.event_id.map(|id| id.to_string()).unwrap_or_default(),
        sequence: receipt.sequence,
        leaf_hash: receipt.leaf_hash.to_vec(),
        salt,
        canonical_event,
        tlog_proof: receipt.tlog_proof,
    }
}

pub fn event_record(record: EventRecord) -> v1::EventRecord {
    v1::EventRecord {
        id: record.logged.id.to_string(),
        organization_id: record.logged.organization_id.to_string(),
        sequence: record.sequence,
        created_at: Some(to_proto_time(record.logged.created_at)),
        event: Some(event(record.logged.event)),
        leaf_hash: record.leaf_hash.to_vec(),
    }
}

fn event(event: Event) -> v1::Event {
    let targets = event.targets.into_iter().map(|target| v1::Target {
        id: target.id,
        r#type: target.kind,
        name: target.name.unwrap_or_default(),
        metadata: to_proto_struct(target.metadata),
    });
    v1::Event {
        action: event.action,
        version: i32::try_from(event.version).unwrap_or(i32::MAX),
        occurred_at: Some(to_proto_time(event.occurred_at)),
        actor: Some(v1::Actor {
            id: event.actor.id,
            r#type: event.actor.kind,
            name: event.actor.name.unwrap_or_default(),
            metadata: to_proto_struct(event.actor.metadata),
        }),
        targets: targets.collect(),
        context: Some(v1::Context {
            location: event.context.location,
            user_agent: event.context.user_agent.unwrap_or_default(),
        }),
        metadata: to_proto_struct(event.metadata),
    }
}

pub fn schema_definition(
    targets: Vec<v1::SchemaTarget>,
    actor: Option<v1::SchemaActor>,
    metadata: Option<prost_types::Struct>,
) -> SchemaDefinition {
    let present = |sent: Option<prost_types::Struct>| -> Option<Metadata> {
        sent.map(|sent| from_proto_struct(Some(sent)))
    };
    let targets = targets
        .into_iter()
        .map(|target| TargetDefinition { kind: target.r#type, metadata: present(target.metadata) });
    SchemaDefinition {
        targets: targets.collect(),
        actor: actor.map(|actor| ActorDefinition { metadata: present(actor.metadata) }),
        metadata: present(metadata),
    }
}

pub fn action_schema(schema: ActionSchema) -> v1::ActionSchema {
    let targets = schema.definition.targets.into_iter().map(|target| v1::SchemaTarget {
        r#type: target.kind,
        metadata: target.metadata.map(to_present_struct),
    });
    let actor = schema.definition.actor;
    v1::ActionSchema {
        version: i32::try_from(schema.version).unwrap_or(i32::MAX),
        targets: targets.collect(),
        actor: actor
            .map(|actor| v1::SchemaActor { metadata: actor.metadata.map(to_present_struct) }),
        metadata: schema.definition.metadata.map(to_present_struct),
        created_at: Some(to_proto_time(schema.created_at)),
    }
}

pub fn action(action: Action) -> v1::Action {
    v1::Action {
        name: action.name,
        created_at: Some(to_proto_time(action.created_at)),
        updated_at: Some(to_proto_time(action.schema.created_at)),
        schema: Some(action_schema(action.schema)),
    }
}

pub fn export(view: ExportView) -> v1::Export {
    let ExportView { export, link, manifest_link } = view;
    let selection = selection(&export);
    let (url, url_expires_at) = link.map(|link| (link.url, to_proto_time(link.expires_at))).unzip();
    v1::Export {
        id: export.id.to_string(),
        organization_id: export.organization_id.to_string(),
        state: export_state(export.state).into(),
        url: url.unwrap_or_default(),
        url_expires_at,
        tree_size: export.tree_size,
        rows_written: export.progress.rows_written,
        bytes_written: export.progress.bytes_written,
        estimated_rows: export.progress.estimated_rows,
        error: export.error.unwrap_or_default(),
        created_at: Some(to_proto_time(export.created_at)),
        updated_at: Some(to_proto_time(export.updated_at)),
        selection: Some(selection),
        format: export_format(export.format).into(),
        compression: compression(export.compression).into(),
        estimate_is_upper_bound: export.progress.is_upper_bound,
        manifest_url: manifest_link.map(|link| link.url).unwrap_or_default(),
    }
}

fn selection(export: &Export) -> v1::ExportSelection {
    let EventFilter { actions, actor_ids, actor_names, target_types, target_ids } =
        export.filter.clone();
    v1::ExportSelection {
        range_start: Some(to_proto_time(export.range.start)),
        range_end: Some(to_proto_time(export.range.end)),
        actions,
        actor_ids,
        actor_names,
        target_types,
        target_ids,
    }
}

const fn export_format(format: ExportFormat) -> v1::ExportFormat {
    match format {
        ExportFormat::Csv => v1::ExportFormat::Csv,
        ExportFormat::JsonLines => v1::ExportFormat::JsonLines,
    }
}

const fn compression(compression: ExportCompression) -> v1::ExportCompression {
    match compression {
        ExportCompression::None => v1::ExportCompression::None,
        ExportCompression::Gzip => v1::ExportCompression::Gzip,
    }
}

const fn export_state(state: ExportState) -> v1::ExportState {
    match state {
        ExportState::Pending => v1::ExportState::Pending,
        ExportState::Ready => v1::ExportState::Ready,
        ExportState::Error => v1::ExportState::Error,
        ExportState::Expired => v1::ExportState::Expired,
        ExportState::Cancelled => v1::ExportState::Cancelled,
    }
}

pub fn configuration(configuration: &AuditLogConfiguration) -> v1::AuditLogConfiguration {
    let state =
        if configuration.active { v1::AuditLogState::Active } else { v1::AuditLogState::Inactive };
    v1::AuditLogConfiguration {
        organization_id: configuration.organization_id.to_string(),
        retention_period_in_days: days(configuration.retention_days),
        state: state.into(),
        erased_events: configuration.retention.erased_events,
        legal_hold: configuration.retention.hold.clone().map(legal_hold),
        log_stream: configuration.log_stream.as_ref().map(audit_log_stream),
    }
}

fn audit_log_stream(stream: &LogStream) -> v1::AuditLogStream {
    v1::AuditLogStream {
        id: stream.id.to_string(),
        r#type: stream.destination.kind().to_owned(),
        state: log_streams::state(stream.state).into(),
        last_synced_at: stream.progress.last_success_at.map(to_proto_time),
        created_at: Some(to_proto_time(stream.created_at)),
    }
}

pub fn legal_hold(hold: LegalHold) -> v1::LegalHold {
    v1::LegalHold { placed_at: Some(to_proto_time(hold.placed_at)), reason: hold.reason }
}

pub fn days(days: u32) -> i32 {
    i32::try_from(days).unwrap_or(i32::MAX)
}

pub fn api_key(key: ApiKey) -> v1::ApiKey {
    v1::ApiKey {
        id: key.id.to_string(),
        name: key.name,
        hint: key.hint,
        scopes: key.scopes.into_iter().map(Scope::as_str).map(str::to_owned).collect(),
        organization_ids: key.organization_ids.iter().map(ToString::to_string).collect(),
        created_at: Some(to_proto_time(key.created_at)),
        revoked_at: key.revoked_at.map(to_proto_time),
        last_used_at: key.last_used_at.map(to_proto_time),
    }
}

/// The four fields of paging, as every list request has them.
pub fn page(limit: i32, order: i32, before: String, after: String) -> PageDraft {
    let order = match v1::SortOrder::try_from(order) {
        Ok(v1::SortOrder::Unspecified | v1::SortOrder::Desc) => Some(Order::Descending),
        Ok(v1::SortOrder::Asc) => Some(Order::Ascending),
        Err(_) => None,
    };
    PageDraft { limit, order, before, after }
}

pub fn event_query(request: v1::ListEventsRequest) -> EventQueryDraft {
    EventQueryDraft {
        filter: EventFilter {
            actions: request.actions,
            actor_ids: request.actor_ids,
            actor_names: request.actor_names,
            target_types: request.target_types,
            target_ids: request.target_ids,
        },
        range_start: from_proto_time(request.range_start),
        range_end: from_proto_time(request.range_end),
        sequence_start: request.sequence_start,
        sequence_end: request.sequence_end,
        page: page(request.limit, request.order, request.before, request.after),
    }
}

pub fn new_export(request: v1::CreateExportRequest) -> NewExport {
    let format = v1::ExportFormat::try_from(request.format).map(|format| match format {
        v1::ExportFormat::Unspecified | v1::ExportFormat::Csv => ExportFormat::Csv,
        v1::ExportFormat::JsonLines => ExportFormat::JsonLines,
    });
    let compression = v1::ExportCompression::try_from(request.compression);
    let compression = compression.map(|compression| match compression {
        v1::ExportCompression::Unspecified | v1::ExportCompression::None => ExportCompression::None,
        v1::ExportCompression::Gzip => ExportCompression::Gzip,
    });
    NewExport {
        format: format.ok(),
        compression: compression.ok(),
        organization_id: request.organization_id,
        range_start: from_proto_time(request.range_start),
        range_end: from_proto_time(request.range_end),
        filter: EventFilter {
            actions: request.actions,
            actor_ids: request.actor_ids,
            actor_names: request.actor_names,
            target_types: request.target_types,
            target_ids: request.target_ids,
        },
    }
}

/// The cursors of a page.
pub fn list_metadata<T>(page: &Page<T>, cursor: impl Fn(&T) -> String) -> v1::ListMetadata {
    let (before, after) = page.cursors(cursor);
    v1::ListMetadata { before: before.unwrap_or_default(), after: after.unwrap_or_default() }
}
