//! `auditlogs.v1.TransparencyLog`.

use tonic::{Request, Response, Status};

use super::{convert, values::to_proto_time};
use crate::{
    proto::v1::{
        self, get_inclusion_proof_request::Event, transparency_log_server::TransparencyLog,
    },
    service::transparency::{EventChoice, LogKey, Transparency},
    transport::auth::caller,
};

/// The service, over the rules.
pub struct TransparencyLogService {
    transparency: Transparency,
}

impl TransparencyLogService {
    /// Calls `transparency`.
    pub const fn new(transparency: Transparency) -> Self {
        Self { transparency }
    }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl TransparencyLog for TransparencyLogService {
    async fn get_checkpoint(
        &self,
        request: Request<v1::GetCheckpointRequest>,
    ) -> Answer<v1::GetCheckpointResponse> {
        let caller = caller(&request)?;
        let id = request.into_inner().organization_id;
        let head = self.transparency.checkpoint(&caller, &id).await?;
        Ok(Response::new(v1::GetCheckpointResponse {
            checkpoint: head.checkpoint,
            tree_size: head.size,
            root_hash: head.root.to_vec(),
            verifier_key: head.verifier_key,
        }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Answer<v1::GetInclusionProofResponse> {
        let caller = caller(&request)?;
        let v1::GetInclusionProofRequest { organization_id, event, tree_size } =
            request.into_inner();
        let choice = match event {
            None => EventChoice::Missing,
            Some(Event::EventId(id)) => EventChoice::Id(id),
            Some(Event::Sequence(sequence)) => EventChoice::Sequence(sequence),
        };
        let transparency = &self.transparency;
        let proof =
            transparency.inclusion_proof(&caller, &organization_id, choice, tree_size).await?;
        Ok(Response::new(v1::GetInclusionProofResponse {
            receipt: Some(convert::receipt(proof.receipt)),
            tree_size: proof.size,
            root_hash: proof.root.to_vec(),
            hashes: proof.hashes.iter().map(|hash| hash.to_vec()).collect(),
        }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Answer<v1::GetConsistencyProofResponse> {
        let caller = caller(&request)?;
        let v1::GetConsistencyProofRequest { organization_id, first_tree_size, second_tree_size } =
            request.into_inner();
        let transparency = &self.transparency;
        let proof = transparency
            .consistency_proof(&caller, &organization_id, first_tree_size, second_tree_size)
            .await?;
        Ok(Response::new(v1::GetConsistencyProofResponse {
            first_tree_size: proof.first.0,
            second_tree_size: proof.second.0,
            first_root_hash: proof.first.1.to_vec(),
            second_root_hash: proof.second.1.to_vec(),
            hashes: proof.hashes.iter().map(|hash| hash.to_vec()).collect(),
            checkpoint: proof.checkpoint,
        }))
    }

    async fn get_public_key(
        &self,
        request: Request<v1::GetPublicKeyRequest>,
    ) -> Answer<v1::GetPublicKeyResponse> {
        let caller = caller(&request)?;
        let id = request.into_inner().organization_id;
        let keys = self.transparency.public_keys(&caller, &id).await?;
        let keys = keys.into_iter().map(verifier_key).collect();
        Ok(Response::new(v1::GetPublicKeyResponse { keys }))
    }
}

fn verifier_key(key: LogKey) -> v1::VerifierKey {
    v1::VerifierKey {
        verifier_key: key.verifier_key,
        public_key: key.public_key.to_vec(),
        created_at: Some(to_proto_time(key.created_at)),
        retired_at: key.retired_at.map(to_proto_time),
        current: key.current,
    }
}
