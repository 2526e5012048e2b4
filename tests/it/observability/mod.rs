//! What operators see: metrics, traces and the log; and that none of them has what is nobody's business.

mod collector;
mod hygiene;
mod metrics;
mod names;
mod sink;
mod traces;
