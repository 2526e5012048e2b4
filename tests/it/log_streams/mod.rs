//! Log streams through a running service: what is recorded arrives at real receivers, whatever happens in
//! between.

mod failing;
mod forwarding;
mod kills;
mod managing;
mod replicas;
mod rest;
mod secrets;
mod status;
pub mod support;
