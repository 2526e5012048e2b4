//! What verifiers and callers hand over as text: notes, checkpoints, proofs, receipts, tiles, cursors.

#![no_main]

use audit_logs_fuzz::checks;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    checks::evidence(data);
    checks::cursor(data);
});
