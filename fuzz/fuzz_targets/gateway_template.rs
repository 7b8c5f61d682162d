//! Templates of paths in annotations, and paths that may fit them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| micro_gateway::fuzzing::template(data));
