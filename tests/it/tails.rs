//! What stands behind the last acknowledged frame after a crash: half a write, zeros, anything. Just
//! that is dropped, the log says how much, and nothing acknowledged goes with it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;

use commonwatch::storage::wal::{self, frame};
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};

use crate::support::Setup;
use crate::support::ledger::{self, Run};
use crate::support::rounds::Rounds;

const CHECK_EVERY: u64 = 10;

/// What a crash may leave at the end of the log.
#[derive(Debug, Clone, Copy)]
enum Tail {
    /// A frame that was not written to its end.
    Torn,
    /// The size reached the disk, the bytes did not.
    Zeros,
    /// Any bytes.
    Garbage,
    /// Any bytes among which frames seem to begin.
    GarbageWithMagic,
    /// What the disk held there earlier: whole frames that were acknowledged once already.
    OldFrames,
}

const TAILS: [Tail; 5] =
    [Tail::Torn, Tail::Zeros, Tail::Garbage, Tail::GarbageWithMagic, Tail::OldFrames];

#[test]
fn what_stands_behind_the_last_frame_is_cut_off_and_nothing_else() {
    let mut cases = Rounds::of("tails", "TAIL_CASES", 20);
    let seed = ledger::seed();
    let n_cases = cases.n_wanted();
    eprintln!("tails: seed {seed} (COMMONWATCH_TEST_SEED repeats it), {n_cases} cases");
    let mut random = StdRng::seed_from_u64(seed);
    let setup = Setup::new("tails").config("[tagging]\nenabled = false\n");
    let run = Run::new(10);

    let mut server = setup.start();
    for case in cases.by_ref() {
        run.send_one_of_each(&server.caller());
        server.kill_9();
        let tail = TAILS[usize::try_from(case).unwrap() % TAILS.len()];
        let (segment, n_bytes) = append(&setup, tail, &mut random);
        let when = format!("seed {seed}, case {case}, {tail:?} of {n_bytes} bytes");

        server = setup.start();

        let log = server.log();
        let said = format!("segment={segment} n_bytes={n_bytes}");
        let dropped = log.lines().filter(|line| line.contains("was never acknowledged"));
        assert!(dropped.into_iter().any(|line| line.ends_with(&said)), "{when}: {said}\n{log}");
        assert!(server.caller().own_metric("commonwatch_wal_damage_total", &[]) == 0.0, "{when}");
        if (case + 1) % CHECK_EVERY == 0 {
            run.check(&server.caller(), &when);
        }
    }
    run.check(&server.caller(), &format!("seed {seed}, at the end"));
    eprintln!("tails: {} tails cut off, nothing lost; seed {seed}", cases.told());
}

/// Puts a tail behind the newest segment; returns the segment's number and the tail's length.
fn append(setup: &Setup, tail: Tail, random: &mut StdRng) -> (u64, usize) {
    let (number, path) = newest_segment(setup);
    let bytes = tail_of(tail, &fs::read(&path).unwrap(), random);
    OpenOptions::new().append(true).open(&path).unwrap().write_all(&bytes).unwrap();
    (number, bytes.len())
}

fn newest_segment(setup: &Setup) -> (u64, PathBuf) {
    let folder = fs::read_dir(setup.data_dir().join(wal::DIR)).unwrap();
    let segments = folder.map(|entry| entry.unwrap().path()).filter_map(|path| {
        let number = wal::segment_of(path.file_name()?.to_str()?)?;
        Some((number, path))
    });
    segments.max().expect("a log has a segment")
}

fn tail_of(tail: Tail, segment: &[u8], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = vec![0; random.random_range(1..6_000)];
    match tail {
        Tail::Zeros => {}
        Tail::Garbage => random.fill_bytes(&mut bytes),
        Tail::GarbageWithMagic => {
            random.fill_bytes(&mut bytes);
            let magic = &segment[frame::SEGMENT_HEADER_BYTES..][..4];
            bytes.chunks_exact_mut(64).for_each(|chunk| chunk[8..12].copy_from_slice(magic));
        }
        Tail::Torn => {
            let mut whole = Vec::new();
            frame::push_frame(&mut whole, u64::from(u32::MAX), |out| out.extend(&bytes));
            whole.truncate(random.random_range(1..whole.len()));
            return whole;
        }
        Tail::OldFrames => return segment[frame::SEGMENT_HEADER_BYTES..].to_vec(),
    }
    bytes
}
