//! Bearer tokens, signed and not, and the files of their keys.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| micro_gateway::fuzzing::token(data));
