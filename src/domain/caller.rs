//! Who calls, and what it may see. Every read and write of tenant data goes through one of these
//! values, so that nothing can be asked of the store without saying whose it must be.

use core::net::IpAddr;
use std::{ops::Deref, sync::Arc};

use super::{
    api_key::Scope,
    ids::{ApiKeyId, EnvironmentId, OrganizationId},
};

/// What an accepted key grants; the same for every request with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// The key.
    pub key_id: ApiKeyId,
    /// The environment of the key.
    pub environment: EnvironmentId,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// The only organizations it can see; empty for all of the environment.
    pub organizations: Vec<OrganizationId>,
}

impl Grant {
    /// Whether the key allows that.
    pub fn has(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope)
    }

    /// Whether the key lets its holder see that organization, if it is one of its environment.
    pub fn can_see(&self, organization: &OrganizationId) -> bool {
        self.organizations.is_empty() || self.organizations.contains(organization)
    }

    /// Whether the key is limited to some organizations.
    pub const fn is_limited(&self) -> bool {
        !self.organizations.is_empty()
    }
}

/// Where a request comes from, for the system log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Origin {
    /// The client's address; `None` if the connection has none.
    pub address: Option<IpAddr>,
    /// The id of the request, as its answer has it; empty if it has none.
    pub request_id: String,
    /// What the client says that it is.
    pub user_agent: Option<String>,
}

/// The sender of one request, whose key was accepted: what the key grants, and where the request comes
/// from. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    grant: Arc<Grant>,
    origin: Arc<Origin>,
}

impl Caller {
    /// The caller of a request from `origin` with a key that grants `grant`.
    pub const fn new(grant: Arc<Grant>, origin: Arc<Origin>) -> Self {
        Self { grant, origin }
    }

    /// Where the request comes from.
    pub const fn origin(&self) -> &Arc<Origin> {
        &self.origin
    }

    /// The same request, after another look at its key.
    #[must_use]
    pub fn with_grant(&self, grant: Arc<Grant>) -> Self {
        Self { grant, origin: self.origin.clone() }
    }
}

/// A caller is what its key grants.
impl Deref for Caller {
    type Target = Grant;

    fn deref(&self) -> &Grant {
        &self.grant
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
