//! The listener's side: gRPC and HTTP on one port. Transports convert, call a service, convert.

pub mod admin;
pub mod auth;
mod body;
pub mod capacity;
pub mod deadline;
pub mod grpc;
pub mod http;
pub mod listener;
mod numbers;
pub mod observe;
pub mod origin;
pub mod rate;
pub mod request_id;
pub mod rest;
pub mod router;
pub mod status;
pub mod undecodable;
