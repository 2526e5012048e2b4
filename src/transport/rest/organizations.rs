//! Organizations.

use std::collections::BTreeMap;

use axum::{
    Extension, Router,
    extract::State,
    http::StatusCode,
    routing::{delete, get},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::{
    Api, KnownCaller,
    body::Sent,
    lenient,
    list::List,
    query::{PageParameters, Query},
    time::millis,
};
use crate::{
    domain::{
        organization::{DomainState, Organization},
        organization_draft::{
            Change, DomainDraft, MetadataChanges, OrganizationChanges, OrganizationDraft,
            OrganizationQuery,
        },
    },
    service::{Services, error::Error},
    transport::http::{error_body::ErrorBody, json::JsonBody, path::Segments, refusal::Refusal},
};

/// The routes of this file.
pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/organizations", get(list_organizations).post(create_organization))
        .route(
            "/organizations/{id}",
            get(get_organization).put(update_organization).delete(delete_organization),
        )
        .route("/organizations/external_id/{external_id}", get(get_by_external_id))
        // As the Go SDK writes it up to version 6.
        .route("/Organizations/{id}", delete(delete_organization))
}

/// An organization to create. What WorkOS knows beyond this is ignored.
#[derive(Debug, Deserialize, ToSchema)]
pub struct CreateOrganization {
    /// Display name. At most 255 characters.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(required = true, example = "Foo Corp")]
    name: String,
    /// Beyond WorkOS: your own id for it, `[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}`; otherwise one is made.
    #[serde(default, deserialize_with = "lenient::text")]
    organization_id: String,
    /// Your own name for it, unique in the environment. At most 64 characters.
    #[serde(default, deserialize_with = "lenient::text")]
    external_id: String,
    /// Texts by key: at most 50 keys (40 characters) with texts (600 characters).
    #[serde(default, deserialize_with = "lenient::map")]
    #[schema(value_type = BTreeMap<String, String>)]
    metadata: Map<String, Value>,
    /// Its domains.
    #[serde(default, deserialize_with = "lenient::objects")]
    domain_data: Vec<DomainData>,
    /// Old form of `domain_data`; both together are one list.
    #[serde(default, deserialize_with = "lenient::texts")]
    #[schema(deprecated)]
    domains: Vec<String>,
}

/// A domain. It is kept and given back; nothing is derived from it.
#[derive(Debug, Deserialize, ToSchema)]
struct DomainData {
    /// The name.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(required = true, example = "foo-corp.com")]
    domain: String,
    /// `pending` or `verified`.
    #[serde(default, deserialize_with = "lenient::text")]
    #[schema(example = "pending")]
    state: String,
}

impl From<DomainData> for DomainDraft {
    fn from(DomainData { domain, state }: DomainData) -> Self {
        let verified = match &*state {
            "" | "pending" => Some(false),
            "verified" => Some(true),
            _ => None,
        };
        Self { domain, verified }
    }
}

/// The domains of either form.
fn domain_drafts(data: Vec<DomainData>, names: Vec<String>) -> Vec<DomainDraft> {
    let old = names.into_iter().map(|domain| DomainDraft { domain, verified: Some(false) });
    data.into_iter().map(DomainDraft::from).chain(old).collect()
}

/// The error with the name of the list that was sent, if it was only one.
fn told_of_domains(error: Error, only_data: bool) -> Error {
    if only_data { error.with_renamed("domains[", "domain_data[") } else { error }
}

impl From<CreateOrganization> for OrganizationDraft {
    fn from(sent: CreateOrganization) -> Self {
        Self {
            id: sent.organization_id,
            name: sent.name,
            external_id: Some(sent.external_id),
            metadata: sent.metadata,
            domains: domain_drafts(sent.domain_data, sent.domains),
        }
    }
}

/// What is to be changed of an organization; what is not sent stays.
#[derive(Debug, Deserialize, ToSchema)]
pub struct UpdateOrganization {
    /// Display name.
    name: Option<String>,
    /// Your own name for it; null removes it.
    #[serde(default, deserialize_with = "lenient::change")]
    #[schema(value_type = Option<String>)]
    external_id: Change<String>,
    /// Keys to set; a key with null or an empty text is removed, null removes all.
    #[serde(default, deserialize_with = "lenient::metadata_changes")]
    #[schema(value_type = Option<BTreeMap<String, Option<String>>>)]
    metadata: MetadataChanges,
    /// Its domains, in place of those that it has.
    #[serde(default, deserialize_with = "lenient::present_objects")]
    domain_data: Option<Vec<DomainData>>,
    /// Old form of `domain_data`; both together are one list.
    #[schema(deprecated)]
    domains: Option<Vec<String>>,
}

impl From<UpdateOrganization> for OrganizationChanges {
    fn from(sent: UpdateOrganization) -> Self {
        let domains = match (sent.domain_data, sent.domains) {
            (None, None) => None,
            (data, names) => {
                Some(domain_drafts(data.unwrap_or_default(), names.unwrap_or_default()))
            }
        };
        Self { name: sent.name, external_id: sent.external_id, metadata: sent.metadata, domains }
    }
}

/// An organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Organization)]
pub struct OrganizationBody {
    /// Always `organization`.
    #[schema(example = "organization")]
    object: &'static str,
    /// Id.
    #[schema(example = "org_01JQ4X7Z6E5M2K9T8V3B1N0CDA")]
    id: String,
    /// Display name.
    name: String,
    /// Always false; kept for clients that read it.
    #[schema(deprecated)]
    allow_profiles_outside_organization: bool,
    /// Its domains.
    domains: Vec<DomainBody>,
    /// Texts by key.
    metadata: BTreeMap<String, String>,
    /// Your own name for it.
    #[schema(required = true)]
    external_id: Option<String>,
    /// When it was created.
    #[schema(format = DateTime)]
    created_at: String,
    /// When it was last changed.
    #[schema(format = DateTime)]
    updated_at: String,
}

/// A domain of an organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrganizationDomain)]
struct DomainBody {
    /// Always `organization_domain`.
    #[schema(example = "organization_domain")]
    object: &'static str,
    /// Id.
    id: String,
    /// Its organization.
    organization_id: String,
    /// The name.
    domain: String,
    /// `pending` or `verified`.
    #[schema(example = "pending")]
    state: &'static str,
    /// Always `manual`: domains are not verified here.
    verification_strategy: &'static str,
    /// When its organization was created.
    #[schema(format = DateTime)]
    created_at: String,
    /// When its organization was last changed.
    #[schema(format = DateTime)]
    updated_at: String,
}

impl From<Organization> for OrganizationBody {
    fn from(organization: Organization) -> Self {
        let id = organization.id.to_string();
        let created_at = millis(organization.created_at);
        let updated_at = millis(organization.updated_at);
        let domains = organization.domains.into_iter().map(|domain| DomainBody {
            object: "organization_domain",
            id: domain.id.to_string(),
            organization_id: id.clone(),
            domain: domain.domain,
            state: DomainState::as_str(domain.state),
            verification_strategy: "manual",
            created_at: created_at.clone(),
            updated_at: updated_at.clone(),
        });
        Self {
            object: "organization",
            domains: domains.collect(),
            id,
            name: organization.name,
            allow_profiles_outside_organization: false,
            metadata: organization.metadata,
            external_id: organization.external_id,
            created_at,
            updated_at,
        }
    }
}

/// Creates an organization.
#[utoipa::path(
    post,
    path = "/organizations",
    tag = "Organizations",
    request_body = CreateOrganization,
    responses(
        (status = 201, body = OrganizationBody),
        (status = 422, body = ErrorBody, description = "A field is missing or malformed, or an id is taken"),
    ),
)]
async fn create_organization(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Sent(sent): Sent<CreateOrganization>,
) -> Result<(StatusCode, JsonBody<OrganizationBody>), Refusal> {
    let only_data = sent.domains.is_empty();
    let created = services.organizations.create(&caller, sent.into()).await;
    let organization = created.map_err(|error| told_of_domains(error, only_data))?;
    Ok((StatusCode::CREATED, JsonBody(organization.into())))
}

/// Lists the organizations that the key can see.
#[utoipa::path(
    get,
    path = "/organizations",
    tag = "Organizations",
    params(
        ("domains" = Option<Vec<String>>, Query, description = "With any of these domains"),
        ("search" = Option<String>, Query, description = "With this in the name, or as id or external id"),
        PageParameters,
    ),
    responses(
        (status = 200, body = List<OrganizationBody>),
        (status = 404, body = ErrorBody, description = "Unknown cursor"),
        (status = 422, body = ErrorBody, description = "A parameter is malformed"),
    ),
)]
async fn list_organizations(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    query: Query,
) -> Result<JsonBody<List<OrganizationBody>>, Refusal> {
    let wanted = OrganizationQuery {
        page: query.page(),
        // The Python SDK sends the list as one value.
        domains: query
            .texts("domains")
            .iter()
            .flat_map(|text| text.split(','))
            .map(str::to_owned)
            .collect(),
        search: query.text("search"),
    };
    let page = services.organizations.list(&caller, wanted).await?;
    let cursor = |organization: &Organization| organization.cursor.to_string();
    Ok(JsonBody(List::new(page, cursor, OrganizationBody::from)))
}

/// Returns one organization.
#[utoipa::path(
    get,
    path = "/organizations/{id}",
    tag = "Organizations",
    params(("id" = String, Path, description = "Id of the organization")),
    responses(
        (status = 200, body = OrganizationBody),
        (status = 404, body = ErrorBody, description = "Unknown organization"),
        (status = 422, body = ErrorBody, description = "The id is malformed"),
    ),
)]
async fn get_organization(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
) -> Result<JsonBody<OrganizationBody>, Refusal> {
    let organization = services.organizations.get(&caller, &id).await?;
    Ok(JsonBody(organization.into()))
}

/// Returns the organization with that external id.
#[utoipa::path(
    get,
    path = "/organizations/external_id/{external_id}",
    tag = "Organizations",
    params(("external_id" = String, Path, description = "Your own name for it, percent-encoded")),
    responses(
        (status = 200, body = OrganizationBody),
        (status = 404, body = ErrorBody, description = "Unknown external id"),
        (status = 422, body = ErrorBody, description = "The external id is malformed"),
    ),
)]
async fn get_by_external_id(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(external_id): Segments<String>,
) -> Result<JsonBody<OrganizationBody>, Refusal> {
    let organization = services.organizations.get_by_external_id(&caller, &external_id).await?;
    Ok(JsonBody(organization.into()))
}

/// Changes an organization.
#[utoipa::path(
    put,
    path = "/organizations/{id}",
    tag = "Organizations",
    params(("id" = String, Path, description = "Id of the organization")),
    request_body = UpdateOrganization,
    responses(
        (status = 200, body = OrganizationBody),
        (status = 404, body = ErrorBody, description = "Unknown organization"),
        (status = 422, body = ErrorBody, description = "A field is malformed, or the external id is taken"),
    ),
)]
async fn update_organization(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
    Sent(sent): Sent<UpdateOrganization>,
) -> Result<JsonBody<OrganizationBody>, Refusal> {
    let only_data = sent.domains.as_ref().is_none_or(Vec::is_empty);
    let updated = services.organizations.update(&caller, &id, sent.into()).await;
    let organization = updated.map_err(|error| told_of_domains(error, only_data))?;
    Ok(JsonBody(organization.into()))
}

/// Nothing more to say.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OrganizationDeleted)]
pub struct Deleted {}

/// Deletes an organization: at once it is unknown everywhere; only its id stays taken.
#[utoipa::path(
    delete,
    path = "/organizations/{id}",
    tag = "Organizations",
    params(("id" = String, Path, description = "Id of the organization")),
    responses(
        (status = 202, body = Deleted),
        (status = 403, body = ErrorBody, description = "The log is held, or the key lacks the scope"),
        (status = 404, body = ErrorBody, description = "Unknown organization"),
        (status = 422, body = ErrorBody, description = "The id is malformed"),
    ),
)]
async fn delete_organization(
    State(services): State<Services>,
    Extension(caller): KnownCaller,
    Segments(id): Segments<String>,
) -> Result<(StatusCode, JsonBody<Deleted>), Refusal> {
    services.organizations.delete(&caller, &id).await?;
    Ok((StatusCode::ACCEPTED, JsonBody(Deleted {})))
}
