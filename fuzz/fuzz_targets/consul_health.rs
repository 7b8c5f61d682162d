//! What Consul answers when it is asked for the nodes of a service.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| micro_registry_consul::fuzzing::health_answer(data));
