//! Every file of the corpus, every crash there has been, and some mutations of them, through the
//! same functions that libFuzzer calls, without libFuzzer.
//!
//! `FUZZ_SEED` takes the place of the seed that a failure prints, `FUZZ_MUTATIONS` of their number.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::TARGETS;
use super::mutate::mutate;

/// Mutations of one target.
const MUTATIONS: u64 = 200;
/// Those of a target that plans, opens a store or makes megabytes for each input.
const COSTLY_MUTATIONS: u64 = 20;
const COSTLY: &[&str] = &["amplify", "promql_eval", "sql_gate", "wal_replay"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Returns the inputs of a target's folder below `corpus` or `regressions`, by name.
fn inputs(kind: &str, target: &str) -> Vec<(String, Vec<u8>)> {
    let Ok(entries) = std::fs::read_dir(folder().join(kind).join(target)) else {
        return Vec::new();
    };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut inputs: Vec<_> =
        paths.map(|path| (path.display().to_string(), std::fs::read(&path).unwrap())).collect();
    inputs.sort();
    inputs
}

fn from_environment(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().expect("a number"))
}

/// Feeds one target.
#[track_caller]
pub(super) fn check(name: &str, run: fn(&[u8])) {
    let regressions = inputs("regressions", name);
    let corpus = inputs("corpus", name);
    assert!(!corpus.is_empty(), "fuzz/corpus/{name} is empty");
    for (file, input) in regressions.iter().chain(&corpus) {
        feed(run, input, file);
    }
    let seed = from_environment("FUZZ_SEED", 1);
    let n_mutations = if COSTLY.contains(&name) { COSTLY_MUTATIONS } else { MUTATIONS };
    let mut rng = SmallRng::seed_from_u64(seed);
    for n in 0..from_environment("FUZZ_MUTATIONS", n_mutations) {
        let (_, input) = &corpus[rng.random_range(0..corpus.len())];
        let (_, other) = &corpus[rng.random_range(0..corpus.len())];
        let mutated = mutate(input, other, &mut rng);
        feed(run, &mutated, &format!("mutation {n} of FUZZ_SEED={seed}"));
    }
}

fn feed(run: fn(&[u8]), input: &[u8], whence: &str) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(input))) {
        eprintln!("{whence}: {} bytes: {}", input.len(), input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

/// Returns the names in a folder, without the ending of a file.
fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect()
}

#[test]
fn every_target_has_its_file_its_binary_and_its_corpus() {
    let targets: BTreeSet<String> = TARGETS.iter().map(|target| target.name.to_owned()).collect();
    let manifest = std::fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let binaries = manifest["bin"].as_array().unwrap().iter();
    let binaries: BTreeSet<String> =
        binaries.map(|binary| binary["name"].as_str().unwrap().to_owned()).collect();
    let all_in_one = BTreeSet::from(["any".to_owned()]);

    assert_eq!(names(&folder().join("fuzz_targets")), targets);
    assert_eq!(&binaries - &all_in_one, targets);
    assert_eq!(names(&folder().join("corpus")), targets);
    assert!(names(&folder().join("regressions")).is_subset(&targets), "a crash of no target");
}

#[test]
fn a_target_that_panics_fails_its_test() {
    fn refuses(input: &[u8]) {
        assert!(input.is_empty(), "not empty");
    }

    assert!(catch_unwind(|| feed(refuses, b"x", "here")).is_err());
}

#[test]
fn one_seed_makes_one_run() {
    let run = |seed| {
        let mut rng = SmallRng::seed_from_u64(seed);
        (0..50).map(|_| mutate(b"some input", b"another", &mut rng)).collect::<Vec<_>>()
    };

    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}
