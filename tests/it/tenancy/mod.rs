//! Nobody sees another tenant: who may call, and what belongs to whom.

mod authentication;
mod environments;
mod limited;
pub mod raw;
mod scopes;
pub mod world;
