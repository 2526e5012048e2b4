//! `grpc.health.v1.Health` of a server that can work. Outages are in `outage`.

use tonic::{Code, transport::Channel};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::support::{Engine, TestServer, on_every_engine};

on_every_engine!(health_is_told_without_a_key);

/// The services whose health is told; the empty name is the server as a whole.
pub const SERVICES: [&str; 4] =
    ["", "auditlogs.v1.AuditLogs", "auditlogs.v1.Organizations", "auditlogs.v1.ApiKeys"];

/// The health of each service.
pub async fn health_of_all(channel: &Channel) -> [ServingStatus; SERVICES.len()] {
    let mut all = [ServingStatus::Unknown; SERVICES.len()];
    for (status, service) in all.iter_mut().zip(SERVICES) {
        let request = HealthCheckRequest { service: service.to_owned() };
        let response = HealthClient::new(channel.clone()).check(request).await.unwrap();
        *status = response.into_inner().status();
    }
    all
}

async fn health_is_told_without_a_key(engine: Engine) {
    let server = TestServer::start(engine).await;
    let channel = server.channel().await;
    assert_eq!(health_of_all(&channel).await, [ServingStatus::Serving; SERVICES.len()]);
    let unknown = HealthCheckRequest { service: "auditlogs.v1.Nonsense".to_owned() };
    let refused = HealthClient::new(channel).check(unknown).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}
