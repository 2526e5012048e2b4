//! Legal holds: that nothing of a log may be erased, whatever its retention.

use super::{
    error::{Kind, Result},
    not_found,
    organizations::Organizations,
    permit,
    system_log::SystemEvent,
    to_its_end,
};
use crate::domain::{
    caller::Caller, limits, permissions::Operation, retention::LegalHold, violation::Violations,
};

impl Organizations {
    /// Holds an organization's log. When this returns, nothing more of it is erased until the hold is
    /// released.
    pub async fn place_legal_hold(
        &self,
        caller: &Caller,
        id: &str,
        reason: &str,
    ) -> Result<LegalHold> {
        permit(caller, Operation::PlaceLegalHold)?;
        let tenant = self.tenant(caller, id).await?;
        let mut violations = Violations::default();
        violations.optional_text("reason", reason, limits::HOLD_REASON_CHARS);
        violations.into_result(())?;
        let (this, caller) = (self.clone(), caller.clone());
        let (id, reason) = (id.to_owned(), reason.to_owned());
        to_its_end(async move {
            let placed = this.store.place_legal_hold(&tenant, &reason, this.clock.now()).await?;
            let unknown = || not_found(Kind::Organization, "organization_id", id);
            let placed = placed.ok_or_else(unknown)?;
            let with_reason = |done: SystemEvent| done.with("reason", reason);
            this.record(&caller, "organization.legal_hold_placed", &tenant, with_reason).await;
            Ok(placed)
        })
        .await
    }

    /// Ends the hold of an organization's log, if there is one.
    pub async fn release_legal_hold(&self, caller: &Caller, id: &str) -> Result<()> {
        permit(caller, Operation::ReleaseLegalHold)?;
        let tenant = self.tenant(caller, id).await?;
        let (this, caller) = (self.clone(), caller.clone());
        to_its_end(async move {
            let was_held = this.store.release_legal_hold(&tenant).await?;
            let with_what = |done: SystemEvent| done.with("was_held", was_held);
            this.record(&caller, "organization.legal_hold_released", &tenant, with_what).await;
            Ok(())
        })
        .await
    }
}
