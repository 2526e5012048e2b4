//! Legal holds: that nothing of a log may be erased, whatever its retention.

use super::{
    error::{Kind, Result},
    not_found,
    organizations::Organizations,
    require,
};
use crate::domain::{
    api_key::Scope, caller::Caller, limits, retention::LegalHold, violation::Violations,
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
        require(caller, Scope::Organizations)?;
        let tenant = self.tenant(caller, id).await?;
        let mut violations = Violations::default();
        violations.optional_text("reason", reason, limits::HOLD_REASON_CHARS);
        violations.into_result(())?;
        let placed = self.store.place_legal_hold(&tenant, reason, self.clock.now()).await?;
        placed.ok_or_else(|| not_found(Kind::Organization, "organization_id", id))
    }

    /// Ends the hold of an organization's log, if there is one.
    pub async fn release_legal_hold(&self, caller: &Caller, id: &str) -> Result<()> {
        require(caller, Scope::Organizations)?;
        let tenant = self.tenant(caller, id).await?;
        Ok(self.store.release_legal_hold(&tenant).await?)
    }
}
