//! The checks of the property tests, for the fuzzer.

#[path = "../../tests/it/properties/checks.rs"]
pub mod checks;
