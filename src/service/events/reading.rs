//! Reading events back, one or a page of them.

use super::{Events, Result, SystemEvent, check_id, not_found, permit};
use crate::{
    domain::{
        caller::Caller,
        event::EventRecord,
        filter::EventQueryDraft,
        ids::EventId,
        limits,
        page::{Page, parse_event_cursor},
        permissions::Operation,
        violation::Violations,
    },
    service::{error::Kind, unknown_cursor},
};

impl Events {
    /// Returns one event.
    pub async fn get(&self, caller: &Caller, organization: &str, id: &str) -> Result<EventRecord> {
        permit(caller, Operation::GetEvent)?;
        let mut violations = Violations::default();
        check_id("organization_id", organization, &mut violations);
        violations.required_text("event_id", id, limits::SHORT_TEXT_CHARS);
        violations.into_result(())?;
        let tenant = self.organizations.tenant(caller, organization).await?;
        let event = self.store.get_event(&tenant, &EventId::from_stored(id)).await?;
        let event = event.ok_or_else(|| not_found(Kind::Event, "event_id", id))?;
        let read = SystemEvent::by(caller, "event.read").on("organization", organization);
        self.system_log.record_read(read.on("event", id)).await;
        Ok(event)
    }

    /// Lists events of one log.
    pub async fn list(
        &self,
        caller: &Caller,
        organization: &str,
        query: EventQueryDraft,
    ) -> Result<Page<EventRecord>> {
        permit(caller, Operation::ListEvents)?;
        let (filter, range, page) = query.validate()?;
        let tenant = self.organizations.tenant(caller, organization).await?;
        let unknown = unknown_cursor(&page);
        let parse = |cursor: String| parse_event_cursor(&tenant.organization, &cursor).ok_or(());
        let Ok(page) = page.map_cursor(parse) else { return Err(unknown) };
        let found = self.store.list_events(&tenant, &filter, &range, &page).await?;
        let read = SystemEvent::by(caller, "event.listed")
            .on("organization", organization)
            .with("events", found.items.len())
            .with("filters", filter.kinds());
        self.system_log.record_read(read).await;
        Ok(found)
    }
}
