//! Nobody sees another tenant: who may call, and what belongs to whom.

mod authentication;
mod environments;
mod isolation;
mod limited;
mod permissions;
pub mod raw;
mod scopes;
pub mod world;
