//! Messages of CreateEvent, from the wire to the canonical event and its row of CSV.

#![no_main]

use audit_logs_fuzz::checks;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| checks::create_event(data));
