//! Bodies of REST requests: `just fuzz`. The first byte chooses the request that the others are.

#![no_main]

use audit_logs::transport::rest::{
    body::decode,
    events::{CreateEvent, CreateEvents},
    exports::CreateExport,
    organizations::{CreateOrganization, UpdateOrganization},
    retention::SetRetention,
    schemas::CreateSchema,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((request, body)) = data.split_first() else { return };
    // What is refused is not of interest, only that decoding ends in one of the two ways.
    match request % 7 {
        0 => drop(decode::<CreateEvent>(body)),
        1 => drop(decode::<CreateEvents>(body)),
        2 => drop(decode::<CreateExport>(body)),
        3 => drop(decode::<CreateOrganization>(body)),
        4 => drop(decode::<UpdateOrganization>(body)),
        5 => drop(decode::<SetRetention>(body)),
        _ => drop(decode::<CreateSchema>(body)),
    }
});
