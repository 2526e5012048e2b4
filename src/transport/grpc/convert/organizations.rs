//! Organizations between the messages of the contract and the words of the domain.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{page, to_proto_time};
use crate::{
    domain::{
        organization::{DomainState, Organization, OrganizationDomain},
        organization_draft::{
            Change, DomainDraft, MetadataChanges, OrganizationChanges, OrganizationDraft,
            OrganizationQuery,
        },
    },
    proto::v1,
};

pub fn organization(organization: Organization) -> v1::Organization {
    v1::Organization {
        id: organization.id.to_string(),
        name: organization.name,
        created_at: Some(to_proto_time(organization.created_at)),
        updated_at: Some(to_proto_time(organization.updated_at)),
        external_id: organization.external_id.unwrap_or_default(),
        metadata: organization.metadata,
        domains: organization.domains.into_iter().map(domain).collect(),
    }
}

fn domain(domain: OrganizationDomain) -> v1::OrganizationDomain {
    let state = match domain.state {
        DomainState::Pending => v1::OrganizationDomainState::Pending,
        DomainState::Verified => v1::OrganizationDomainState::Verified,
    };
    v1::OrganizationDomain { id: domain.id.to_string(), domain: domain.domain, state: state.into() }
}

fn domain_draft(sent: v1::OrganizationDomain) -> DomainDraft {
    let verified = match v1::OrganizationDomainState::try_from(sent.state) {
        Ok(v1::OrganizationDomainState::Verified) => Some(true),
        Ok(v1::OrganizationDomainState::Pending | v1::OrganizationDomainState::Unspecified) => {
            Some(false)
        }
        Err(_) => None,
    };
    DomainDraft { domain: sent.domain, verified }
}

fn entries(sent: BTreeMap<String, String>) -> Map<String, Value> {
    sent.into_iter().map(|(key, text)| (key, Value::String(text))).collect()
}

pub fn draft(request: v1::OrganizationsCreateRequest) -> OrganizationDraft {
    OrganizationDraft {
        id: request.organization_id,
        name: request.name,
        external_id: Some(request.external_id),
        metadata: entries(request.metadata),
        domains: request.domains.into_iter().map(domain_draft).collect(),
    }
}

/// The id, and what is to be changed.
pub fn changes(request: v1::OrganizationsUpdateRequest) -> (String, OrganizationChanges) {
    let domains = |sent: v1::OrganizationDomains| {
        sent.domains.into_iter().map(domain_draft).collect::<Vec<_>>()
    };
    let changes = OrganizationChanges {
        name: request.name,
        external_id: request.external_id.map_or(Change::Keep, Change::Set),
        metadata: MetadataChanges {
            clear: request.clear_metadata,
            entries: entries(request.metadata),
        },
        domains: request.domains.map(domains),
    };
    (request.organization_id, changes)
}

pub fn query(request: v1::OrganizationsListRequest) -> OrganizationQuery {
    let v1::OrganizationsListRequest { limit, order, before, after, domains, search } = request;
    OrganizationQuery { page: page(limit, order, before, after), domains, search }
}
