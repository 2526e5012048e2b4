//! Organizations and how long their events are kept.

use super::{
    ids::{OrganizationCursor, OrganizationId},
    retention::RetentionState,
    timestamp::Timestamp,
};

/// A tenant of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Id, unique in the deployment.
    pub id: OrganizationId,
    /// Place in the list of organizations.
    pub cursor: OrganizationCursor,
    /// Display name.
    pub name: String,
    /// For how many days events are kept; `None` for the service's default.
    pub retention_days: Option<u32>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// Whether a retention period can be set: months of 30 days up to 11, or years of 365 days up to 10
/// (WorkOS, audit-log retention).
pub fn is_retention_period(days: u32) -> bool {
    let months = days.is_multiple_of(30) && (30..=330).contains(&days);
    let years = days.is_multiple_of(365) && (365..=3_650).contains(&days);
    months || years
}

/// How an organization's audit trail is set up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLogConfiguration {
    /// The organization.
    pub organization_id: OrganizationId,
    /// For how many days events are kept, the default applied.
    pub retention_days: u32,
    /// Whether its environment has an action, so that events can be taken.
    pub active: bool,
    /// What retention did to its log, and whether it is held.
    pub retention: RetentionState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_grid() {
        for good in [30, 60, 330, 365, 730, 3_650] {
            assert!(is_retention_period(good), "{good}");
        }
        for bad in [0, 1, 29, 31, 360, 366, 3_660, 4_015, u32::MAX] {
            assert!(!is_retention_period(bad), "{bad}");
        }
    }
}
