//! All targets in one binary, which `scripts/fuzz` runs: linking forty would take longer than most
//! people fuzz. `FUZZ_TARGET` names the one that is meant.
#![no_main]

use std::sync::LazyLock;

use commonwatch_fuzz::commonwatch::fuzzing::TARGETS;

static RUN: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    found.unwrap_or_else(|| panic!("FUZZ_TARGET={name} is no target")).run
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| commonwatch_fuzz::feed(*RUN, input));
