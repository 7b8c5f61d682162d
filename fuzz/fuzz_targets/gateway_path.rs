//! Paths of requests to a gateway.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| micro_gateway::fuzzing::path(data));
