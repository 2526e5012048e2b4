//! `auditlogs.v1.Organizations`.

use tonic::{Request, Response, Status};

use super::convert::{self, organizations};
use crate::{
    proto::v1::{self, organizations_server::Organizations},
    service,
    transport::auth::caller,
};

/// The service, over the rules.
pub struct OrganizationsService {
    organizations: service::organizations::Organizations,
}

impl OrganizationsService {
    /// Calls `organizations`.
    pub const fn new(organizations: service::organizations::Organizations) -> Self {
        Self { organizations }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Organizations for OrganizationsService {
    async fn create(
        &self,
        request: Request<v1::OrganizationsCreateRequest>,
    ) -> Answer<v1::OrganizationsCreateResponse> {
        let caller = caller(&request)?;
        let draft = organizations::draft(request.into_inner());
        let created = self.organizations.create(&caller, draft).await?;
        let organization = Some(organizations::organization(created));
        Ok(Response::new(v1::OrganizationsCreateResponse { organization }))
    }

    async fn get(
        &self,
        request: Request<v1::OrganizationsGetRequest>,
    ) -> Answer<v1::OrganizationsGetResponse> {
        let caller = caller(&request)?;
        let found = self.organizations.get(&caller, &request.into_inner().organization_id).await?;
        let organization = Some(organizations::organization(found));
        Ok(Response::new(v1::OrganizationsGetResponse { organization }))
    }

    async fn get_by_external_id(
        &self,
        request: Request<v1::OrganizationsGetByExternalIdRequest>,
    ) -> Answer<v1::OrganizationsGetByExternalIdResponse> {
        let caller = caller(&request)?;
        let external_id = request.into_inner().external_id;
        let found = self.organizations.get_by_external_id(&caller, &external_id).await?;
        let organization = Some(organizations::organization(found));
        Ok(Response::new(v1::OrganizationsGetByExternalIdResponse { organization }))
    }

    async fn update(
        &self,
        request: Request<v1::OrganizationsUpdateRequest>,
    ) -> Answer<v1::OrganizationsUpdateResponse> {
        let caller = caller(&request)?;
        let (id, changes) = organizations::changes(request.into_inner());
        let updated = self.organizations.update(&caller, &id, changes).await?;
        let organization = Some(organizations::organization(updated));
        Ok(Response::new(v1::OrganizationsUpdateResponse { organization }))
    }

    async fn list(
        &self,
        request: Request<v1::OrganizationsListRequest>,
    ) -> Answer<v1::OrganizationsListResponse> {
        let caller = caller(&request)?;
        let query = organizations::query(request.into_inner());
        let page = self.organizations.list(&caller, query).await?;
        let list_metadata = Some(convert::list_metadata(&page, |item| item.cursor.to_string()));
        let organizations = page.items.into_iter().map(organizations::organization).collect();
        Ok(Response::new(v1::OrganizationsListResponse { organizations, list_metadata }))
    }

    async fn delete(
        &self,
        request: Request<v1::OrganizationsDeleteRequest>,
    ) -> Answer<v1::OrganizationsDeleteResponse> {
        let caller = caller(&request)?;
        self.organizations.delete(&caller, &request.into_inner().organization_id).await?;
        Ok(Response::new(v1::OrganizationsDeleteResponse {}))
    }

    async fn get_retention(
        &self,
        request: Request<v1::GetRetentionRequest>,
    ) -> Answer<v1::GetRetentionResponse> {
        let caller = caller(&request)?;
        let id = request.into_inner().organization_id;
        let days = self.organizations.retention(&caller, &id).await?;
        let retention_period_in_days = days.map(convert::days);
        Ok(Response::new(v1::GetRetentionResponse { retention_period_in_days }))
    }

    async fn update_retention(
        &self,
        request: Request<v1::UpdateRetentionRequest>,
    ) -> Answer<v1::UpdateRetentionResponse> {
        let caller = caller(&request)?;
        let v1::UpdateRetentionRequest { organization_id, retention_period_in_days } =
            request.into_inner();
        let organizations = &self.organizations;
        let days = organizations
            .set_retention(&caller, &organization_id, retention_period_in_days)
            .await?;
        let retention_period_in_days = convert::days(days);
        Ok(Response::new(v1::UpdateRetentionResponse { retention_period_in_days }))
    }

    async fn place_legal_hold(
        &self,
        request: Request<v1::PlaceLegalHoldRequest>,
    ) -> Answer<v1::PlaceLegalHoldResponse> {
        let caller = caller(&request)?;
        let v1::PlaceLegalHoldRequest { organization_id, reason } = request.into_inner();
        let organizations = &self.organizations;
        let hold = organizations.place_legal_hold(&caller, &organization_id, &reason).await?;
        let legal_hold = Some(convert::legal_hold(hold));
        Ok(Response::new(v1::PlaceLegalHoldResponse { legal_hold }))
    }

    async fn release_legal_hold(
        &self,
        request: Request<v1::ReleaseLegalHoldRequest>,
    ) -> Answer<v1::ReleaseLegalHoldResponse> {
        let caller = caller(&request)?;
        let id = request.into_inner().organization_id;
        self.organizations.release_legal_hold(&caller, &id).await?;
        Ok(Response::new(v1::ReleaseLegalHoldResponse {}))
    }

    async fn get_audit_log_configuration(
        &self,
        request: Request<v1::GetAuditLogConfigurationRequest>,
    ) -> Answer<v1::GetAuditLogConfigurationResponse> {
        let caller = caller(&request)?;
        let id = request.into_inner().organization_id;
        let found = self.organizations.configuration(&caller, &id).await?;
        let configuration = Some(convert::configuration(&found));
        Ok(Response::new(v1::GetAuditLogConfigurationResponse { configuration }))
    }
}
