//! The tags of a record in Consul, compressed or not.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| micro_registry_consul::fuzzing::tags(data));
