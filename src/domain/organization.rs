//! Organizations and how long their events are kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    ids::{OrganizationCursor, OrganizationDomainId, OrganizationId},
    log_stream::LogStream,
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
    /// The caller's own name for it, unique among the organizations of its environment that were not
    /// deleted.
    pub external_id: Option<String>,
    /// What the caller keeps beside it.
    pub metadata: OrganizationMetadata,
    /// Its domains, in the caller's order, each once.
    pub domains: Vec<OrganizationDomain>,
    /// For how many days events are kept; `None` for the service's default.
    pub retention_days: Option<u32>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What a caller keeps beside an organization: texts by key, none of them empty.
pub type OrganizationMetadata = BTreeMap<String, String>;

/// A domain of an organization. It is kept and given back; nothing is derived from it, and it is not
/// verified here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrganizationDomain {
    /// Id.
    pub id: OrganizationDomainId,
    /// The name, in lower case.
    pub domain: String,
    /// Whether the organization owns it.
    pub state: DomainState,
}

/// What the caller says of a domain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DomainState {
    /// Whether the organization owns it is open.
    Pending,
    /// The organization owns it.
    Verified,
}

impl DomainState {
    /// The name, as WorkOS has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Verified => "verified",
        }
    }
}

/// Whether a retention period can be set: months of 30 days up to 11, or years of 365 days up to 10
/// (WorkOS, audit-log retention).
pub fn is_retention_period(days: u32) -> bool {
    let months = days.is_multiple_of(30) && (30..=330).contains(&days);
    let years = days.is_multiple_of(365) && (365..=3_650).contains(&days);
    months || years
}

/// The days of a retention period by its name: `1_MONTH`, `2_MONTHS` to `11_MONTHS`, `1_YEAR`,
/// `2_YEARS` to `10_YEARS` (WorkOS, audit-log retention). `None` if there is no such period.
pub fn days_of_period(name: &str) -> Option<u32> {
    let (count, unit) = name.split_once('_')?;
    let is_plain = !count.starts_with(['0', '+']);
    let count = count.parse().ok().filter(|_| is_plain)?;
    match (count, unit) {
        (1, "MONTH") | (2..=11, "MONTHS") => Some(count * 30),
        (1, "YEAR") | (2..=10, "YEARS") => Some(count * 365),
        _ => None,
    }
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
    /// Its oldest log stream, if it has one.
    pub log_stream: Option<LogStream>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_named_period_is_on_the_grid() {
        let months = (2..=11).map(|months| (format!("{months}_MONTHS"), months * 30));
        let years = (2..=10).map(|years| (format!("{years}_YEARS"), years * 365));
        let singular = [("1_MONTH".to_owned(), 30), ("1_YEAR".to_owned(), 365)];
        for (name, days) in months.chain(years).chain(singular) {
            assert_eq!(days_of_period(&name), Some(days), "{name}");
            assert!(is_retention_period(days));
        }
        for bad in ["", "1", "1_MONTHS", "12_MONTHS", "0_YEARS", "11_YEARS", "01_MONTH", "+2_YEARS"]
        {
            assert_eq!(days_of_period(bad), None, "{bad}");
        }
    }

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
