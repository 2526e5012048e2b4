//! The REST API, through a real HTTP client. Every answer that a test sees was held against the
//! service's own description of it (`/openapi.json`), strictly: no member more, none less.

pub mod calls;
mod description;
mod events;
mod exports;
mod idempotency;
mod listing;
mod malformed;
mod organizations;
mod schemas;
mod tenancy;
mod web;
