//! The TXT record of an announcement by mDNS.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| micro_registry_mdns::fuzzing::txt(data));
