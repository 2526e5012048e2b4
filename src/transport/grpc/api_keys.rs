//! `auditlogs.v1.ApiKeys`.

use tonic::{Request, Response, Status};

use super::convert;
use crate::{
    proto::v1::{self, api_keys_server::ApiKeys},
    service::{self, api_keys::NewApiKey},
    transport::auth::caller,
};

/// The service, over the rules.
pub struct ApiKeysService {
    api_keys: service::api_keys::ApiKeys,
}

impl ApiKeysService {
    /// Calls `api_keys`.
    pub const fn new(api_keys: service::api_keys::ApiKeys) -> Self {
        Self { api_keys }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl ApiKeys for ApiKeysService {
    async fn create(
        &self,
        request: Request<v1::ApiKeysCreateRequest>,
    ) -> Answer<v1::ApiKeysCreateResponse> {
        let caller = caller(&request)?;
        let v1::ApiKeysCreateRequest { name, scopes, organization_ids } = request.into_inner();
        let new = NewApiKey { name, scopes, organization_ids };
        let (key, value) = self.api_keys.create(&caller, new).await?;
        let api_key = Some(convert::api_key(key));
        let value = value.reveal().to_owned();
        Ok(Response::new(v1::ApiKeysCreateResponse { api_key, value }))
    }

    async fn list(
        &self,
        request: Request<v1::ApiKeysListRequest>,
    ) -> Answer<v1::ApiKeysListResponse> {
        let caller = caller(&request)?;
        let v1::ApiKeysListRequest { limit, order, before, after } = request.into_inner();
        let page = convert::page(limit, order, before, after);
        let page = self.api_keys.list(&caller, page).await?;
        let list_metadata = Some(convert::list_metadata(&page, |key| key.id.to_string()));
        let api_keys = page.items.into_iter().map(convert::api_key).collect();
        Ok(Response::new(v1::ApiKeysListResponse { api_keys, list_metadata }))
    }

    async fn revoke(
        &self,
        request: Request<v1::ApiKeysRevokeRequest>,
    ) -> Answer<v1::ApiKeysRevokeResponse> {
        let caller = caller(&request)?;
        let key = self.api_keys.revoke(&caller, &request.into_inner().api_key_id).await?;
        Ok(Response::new(v1::ApiKeysRevokeResponse { api_key: Some(convert::api_key(key)) }))
    }
}
