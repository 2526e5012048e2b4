//! Who calls, and what it may see. Every read and write of tenant data goes through one of these
//! values, so that nothing can be asked of the store without saying whose it must be.

use super::{
    api_key::Scope,
    ids::{ApiKeyId, EnvironmentId, OrganizationId},
};

/// A caller whose key was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The key.
    pub key_id: ApiKeyId,
    /// The environment of the key.
    pub environment: EnvironmentId,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The only organizations it can see; empty for all of the environment.
    pub organizations: Vec<OrganizationId>,
}

impl Caller {
    /// Whether the caller may do that.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether the caller's key lets it see that organization, if it is one of its environment.
    pub fn can_see(&self, organization: &OrganizationId) -> bool {
        self.organizations.is_empty() || self.organizations.contains(organization)
    }
}

/// An organization that was found to belong to a caller's environment and to be visible to it, as
/// `service::organizations` finds it; or that of something that was found so, as a log stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// The environment.
    pub environment: EnvironmentId,
    /// The organization.
    pub organization: OrganizationId,
}
