//! Names of services.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| micro_registry::fuzzing::service_name(data));
