//! `WatchEvents`: what was there and what comes, without gap and without duplicate.

mod joining;
mod support;
