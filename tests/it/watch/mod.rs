//! `WatchEvents`: what was there and what comes, without gap and without duplicate.

mod ending;
mod filters;
mod idle;
mod joining;
mod replicas;
mod resuming;
mod starting;
pub mod support;
