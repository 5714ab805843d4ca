#![no_main]

#[path = "../driver.rs"]
#[expect(dead_code, reason = "libFuzzer drives it instead")]
mod driver;
#[path = "../gateway.rs"]
#[expect(dead_code, reason = "one target of many")]
mod gateway;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    gateway::client(bytes);
});
