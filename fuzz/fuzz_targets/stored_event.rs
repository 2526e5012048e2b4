//! Rows of events that somebody changed behind the service's back.

#![no_main]

use audit_logs_fuzz::checks;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| checks::stored_event(data));
