#![no_main]

#[path = "../driver.rs"]
#[expect(dead_code, reason = "libFuzzer drives it instead")]
mod driver;
#[path = "../ledger.rs"]
#[expect(dead_code, reason = "one target of many")]
mod ledger;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    ledger::frame(bytes);
});
