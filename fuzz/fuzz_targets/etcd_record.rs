//! A record in etcd.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| micro_registry_etcd::fuzzing::record(data));
