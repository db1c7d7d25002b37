//! What stands behind the last acknowledged frame after a crash: half a write, zeros, anything, in the
//! room that was reserved for frames or where there is none. Just that is dropped, the log says how
//! much, and nothing acknowledged goes with it. Zeros up to the end are room, and not worth a word.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use commonwatch::storage::wal;
use commonwatch::storage::wal::frame::{self, Found, Frames};
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
        let is_reserved = random.random_bool(0.5);
        let (segment, n_bytes) = put(&setup, tail, is_reserved, &mut random);
        let when = format!("seed {seed}, case {case}, {tail:?}, {is_reserved}, {n_bytes} bytes");

        server = setup.start();

        let log = server.log();
        let said = format!("segment={segment} n_bytes={n_bytes}");
        let mut dropped = log.lines().filter(|line| line.contains("was never acknowledged"));
        let is_said = match n_bytes {
            0 => dropped.all(|line| !line.contains(&format!("segment={segment} "))),
            _ => dropped.any(|line| line.ends_with(&said)),
        };
        assert!(is_said, "{when}: {said}\n{log}");
        assert!(server.caller().own_metric("commonwatch_wal_damage_total", &[]) == 0.0, "{when}");
        if (case + 1) % CHECK_EVERY == 0 {
            run.check(&server.caller(), &when);
        }
    }
    run.check(&server.caller(), &format!("seed {seed}, at the end"));
    eprintln!("tails: {} tails cut off, nothing lost; seed {seed}", cases.told());
}

/// Puts a tail behind the last frame of the newest segment, with the room that is reserved there or
/// without it; returns the segment's number and how many bytes are no room.
fn put(setup: &Setup, tail: Tail, is_reserved: bool, random: &mut StdRng) -> (u64, usize) {
    let (number, path) = newest_segment(setup);
    let segment = fs::read(&path).unwrap();
    let written = &segment[..end_of_frames(&segment)];
    assert!(segment.len() > written.len(), "no room is reserved");
    let bytes = tail_of(tail, written, random);
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    if !is_reserved {
        file.set_len(written.len() as u64).unwrap();
    }
    file.write_all_at(&bytes, written.len() as u64).unwrap();
    (number, bytes.iter().rposition(|byte| *byte != 0).map_or(0, |idx| idx + 1))
}

/// Returns where the last frame of a segment ends.
fn end_of_frames(segment: &[u8]) -> usize {
    let lengths = Frames::new(segment).map_while(|found| match found {
        Found::Frame { payload, .. } => Some(frame::FRAME_HEADER_BYTES + payload.len()),
        Found::Garbage { .. } => None,
    });
    frame::SEGMENT_HEADER_BYTES + lengths.sum::<usize>()
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
            // No zeros: those that the room has in place of them would make it whole again.
            bytes.fill_with(|| random.random_range(1..=u8::MAX));
            let mut whole = Vec::new();
            frame::push_frame(&mut whole, u64::from(u32::MAX), |out| out.extend(&bytes));
            whole.truncate(random.random_range(1..whole.len()));
            return whole;
        }
        Tail::OldFrames => return segment[frame::SEGMENT_HEADER_BYTES..].to_vec(),
    }
    bytes
}
