//! Addresses, as hosts and ports in any form.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| micro_registry::fuzzing::address(data));
