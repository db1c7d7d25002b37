//! `kill -9` at random moments under load: what was acknowledged is there exactly once.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::ledger::{self, Run};
use crate::support::rounds::Rounds;
use crate::support::wait::pause;
use crate::support::{Server, Setup};

const N_CYCLES: u32 = 20;
const CHECK_EVERY: u32 = 5;

/// Small files and frequent flushes, so that kills fall into those as well.
const CONFIG: &str = r#"
[tagging]
enabled = false

[storage]
flush_age = "150ms"
"#;

#[test]
fn what_was_acknowledged_survives_kill_9_exactly_once() {
    let mut loops = Rounds::of("kill loops", "KILL_LOOPS", 1);
    let seed = ledger::seed();
    let n_loops = loops.n_wanted();
    eprintln!("durability: seed {seed} (COMMONWATCH_TEST_SEED repeats it), {n_loops} loops");
    loops.by_ref().for_each(|n| kill_loop(seed + n));
    eprintln!("durability: {} loops of {N_CYCLES} kills, nothing lost; seed {seed}", loops.told());
}

fn kill_loop(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let setup = Setup::new("durability").config(CONFIG);
    let run = Run::new(50);

    for cycle in 1..=N_CYCLES {
        let mut server = setup.spawn();
        // A fifth of the kills fall into start-up, which is replay once there is something to replay.
        if random.random_ratio(1, 5) {
            pause(Duration::from_millis(random.random_range(0..400)));
            server.kill_9();
            continue;
        }
        server.wait_until_ready();
        run.send_unknown_samples_again(&server.caller());
        if cycle.is_multiple_of(CHECK_EVERY) {
            run.check(&server.caller(), &format!("seed {seed}, cycle {cycle}"));
        }
        run.load_until_killed(server, Duration::from_millis(random.random_range(50..1_500)));
    }

    let server = setup.start();
    run.send_unknown_samples_again(&server.caller());
    run.check(&server.caller(), &format!("seed {seed}, at the end"));
    server.stop();
    let server = setup.start();
    run.check(&server.caller(), &format!("seed {seed}, after an ordinary stop"));
    eprintln!("durability: seed {seed}: {} items were acknowledged", run.n_acknowledged());
}

/// The log is never flushed, so that every start replays all of it, and kills fall into that.
const REPLAY_CONFIG: &str = r#"
[tagging]
enabled = false

[storage]
segment_size = "16KiB"
"#;

/// A log segment without frames.
const HEADER_BYTES: u64 = 28;
/// As many quarters of a minute can be full while 26 processes are started and killed.
const OWN_METRICS_MAX: usize = 4;

#[test]
fn a_restart_loop_loses_nothing_and_leaves_no_files_behind() {
    let seed = ledger::seed();
    let mut loops = Rounds::of("restart loops", "RESTART_LOOPS", 1);
    let n_loops = loops.n_wanted();
    eprintln!("restart loop: seed {seed} (COMMONWATCH_TEST_SEED repeats it), {n_loops} loops");
    let mut random = StdRng::seed_from_u64(seed);
    for n in loops.by_ref() {
        let setup = Setup::new("restart-loop").config(REPLAY_CONFIG);
        let run = Run::new(20).paced(Duration::from_millis(3));
        let mut server = setup.start();
        assert_eq!(run.load_until_dead(&mut server, Duration::from_millis(700)), None);
        server.kill_9();
        let before = files(&setup.data_dir());

        for _ in 0..20 {
            let server = setup.spawn();
            pause(Duration::from_millis(random.random_range(0..500)));
            server.kill_9();
        }
        #[cfg(debug_assertions)]
        kill_in_the_replay(&setup);

        let server = setup.start();
        // What had no answer is not sent again: all that is there must have been there before.
        run.check(&server.caller(), &format!("seed {seed}, loop {n}"));
        check_files(&server, &setup, &before);
    }
    eprintln!("restart loop: {} loops of 26 ends, nothing lost; seed {seed}", loops.told());
}

/// Ends the process between two segments of the replay, wherever there is such a place.
#[cfg(debug_assertions)]
fn kill_in_the_replay(setup: &Setup) {
    for n_segments in 1..=6 {
        let rules = format!("read.wal.after@{n_segments}=kill");
        let mut server = setup.clone().faults(&rules).spawn();
        assert!(server.wait_until_ready_or_dead().is_some(), "{}", server.log());
    }
}

fn check_files(server: &Server, setup: &Setup, before: &[PathBuf]) {
    let mut new = files(&setup.data_dir());
    new.retain(|file| !before.contains(file));
    // A process that lived at a full quarter of a minute has stored its own metrics before it was killed.
    let has_frames = |file: &PathBuf| {
        let is_log = file.extension().is_some_and(|ending| ending == "wal");
        is_log && fs::metadata(file).is_ok_and(|found| found.len() > HEADER_BYTES)
    };
    let n_new = new.len();
    new.retain(|file| !has_frames(file));
    assert!(n_new - new.len() <= OWN_METRICS_MAX, "{n_new} new files; {}", server.log());
    // What this process has opened.
    assert!(new.len() <= 1, "left behind: {new:?}; {}", server.log());
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}
