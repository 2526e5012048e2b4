//! The listener's side: gRPC and HTTP on one port. Transports convert, call a service, convert.

pub mod auth;
pub mod deadline;
pub mod grpc;
pub mod http;
mod numbers;
pub mod origin;
pub mod request_id;
pub mod rest;
pub mod router;
pub mod status;
pub mod undecodable;
