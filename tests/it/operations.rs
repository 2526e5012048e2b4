//! What an operator sees and relies on: health, readiness, reflection, deadlines, limits.

mod deadline;
mod health;
mod http;
mod outage;
pub mod proxy;
mod reflection;
