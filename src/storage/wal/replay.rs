//! Reading the log back at start: every whole frame in order, and what was damaged.

use std::io;

use tracing::{info, warn};

use crate::model::Commons;
use crate::storage::disk::Disk;

use super::frame::{Found, Frames, read_segment_header};
use super::payload::{self, Payload};
use super::{DIR, path, segment_of};

/// Bytes of the log that were acknowledged and can no longer be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The segment's file.
    pub path: String,
    /// Where the bad bytes begin.
    pub offset: usize,
    /// How many there are.
    pub n_bytes: usize,
    /// What is wrong with them.
    pub reason: String,
}

/// One segment found on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHead {
    /// Its number.
    pub number: u64,
    /// The generation its slots belong to.
    pub generation: u64,
}

/// What a segment held.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct SegmentReport {
    /// The number and generation, when the header could be read.
    pub head: Option<SegmentHead>,
    /// Whole frames.
    pub n_frames: usize,
    /// The segment's size.
    pub n_bytes: usize,
    /// Where its last whole frame ends, 0 without one.
    pub n_written_bytes: usize,
    /// The highest group.
    pub last_group: u64,
    /// Bytes at the end that were never acknowledged.
    pub n_torn_bytes: usize,
    /// Bytes that had been acknowledged.
    pub damage: Vec<Damage>,
}

/// Returns the numbers of the segments on disk, ascending.
pub fn segments(disk: &dyn Disk) -> io::Result<Vec<u64>> {
    let mut numbers: Vec<u64> =
        disk.list(DIR)?.iter().filter_map(|name| segment_of(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads one segment and hands each payload to `visit` in order.
pub fn read_segment(
    disk: &dyn Disk,
    number: u64,
    mut visit: impl FnMut(SegmentHead, Commons, Payload),
) -> io::Result<SegmentReport> {
    let bytes = disk.read(&path(number))?;
    let mut report = SegmentReport { n_bytes: bytes.len(), ..SegmentReport::default() };
    // A header of another number is a copy under a wrong name: its rows are elsewhere already.
    let header = read_segment_header(&bytes).filter(|(written, _)| *written == number);
    let Some((_, generation)) = header else {
        note_bad_header(&mut report, number, &bytes);
        return Ok(report);
    };
    let head = SegmentHead { number, generation };
    report.head = Some(head);
    let mut garbage = Vec::new();
    let mut frames = Frames::new(&bytes);
    while let Some(found) = frames.next() {
        match found {
            Found::Garbage { offset, n_bytes } => {
                garbage.push(Garbage { offset, n_bytes, group: None });
            }
            Found::Frame { group, offset_in_group, payload } => {
                settle_group(&mut garbage, group, offset_in_group);
                report.n_frames += 1;
                report.n_written_bytes = frames.offset();
                report.last_group = report.last_group.max(group);
                match payload::decode(payload) {
                    Ok((commons, payload)) => visit(head, commons, payload),
                    Err(error) => report.damage.push(Damage {
                        path: path(number),
                        offset: 0,
                        n_bytes: payload.len(),
                        reason: error.to_string(),
                    }),
                }
            }
        }
    }
    leave_out_reserved(&mut garbage, &bytes);
    judge(garbage, number, &mut report);
    Ok(report)
}

/// Takes zeros at the end for what they are: room in which no frame was written.
fn leave_out_reserved(garbage: &mut Vec<Garbage>, segment: &[u8]) {
    let Some(last) = garbage.last_mut() else { return };
    let bytes = &segment[last.offset..];
    if last.n_bytes == bytes.len() {
        last.n_bytes = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |idx| idx + 1);
    }
    garbage.retain(|one| one.n_bytes > 0);
}

/// Bad bytes between frames, and the latest group that they can have been part of.
struct Garbage {
    offset: usize,
    n_bytes: usize,
    group: Option<u64>,
}

fn settle_group(garbage: &mut [Garbage], group: u64, offset_in_group: u32) {
    if let Some(last) = garbage.last_mut().filter(|g| g.group.is_none()) {
        let fits = u32::try_from(last.n_bytes).is_ok_and(|n| n <= offset_in_group);
        last.group = Some(if fits { group } else { group.saturating_sub(1) });
    }
}

fn judge(garbage: Vec<Garbage>, number: u64, report: &mut SegmentReport) {
    for Garbage { offset, n_bytes, group } in garbage {
        // A later group was begun only after this one had been synced and acknowledged.
        if group.is_some_and(|group| group < report.last_group) {
            let reason = "bad checksum in front of a later group".to_owned();
            let damage = Damage { path: path(number), offset, n_bytes, reason };
            warn!(path = damage.path, offset, n_bytes, "log is damaged; the rest is replayed");
            report.damage.push(damage);
        } else {
            info!(segment = number, n_bytes, "dropped a write that was never acknowledged");
            report.n_torn_bytes += n_bytes;
        }
    }
}

// The header is synced before the first frame is written, so a segment with frames has a good one.
fn note_bad_header(report: &mut SegmentReport, number: u64, bytes: &[u8]) {
    if bytes.len() <= super::frame::SEGMENT_HEADER_BYTES {
        report.n_torn_bytes = bytes.len();
        return;
    }
    let reason = "unreadable segment header, or that of another segment".to_owned();
    warn!(path = path(number), reason, "log segment was left alone");
    report.damage.push(Damage { path: path(number), offset: 0, n_bytes: bytes.len(), reason });
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::storage::disk::sim::SimDisk;
    use crate::storage::wal::frame::push_frame;
    use crate::storage::wal::segment::Segment;

    fn group(number: u64, slots: &[u32]) -> Vec<u8> {
        let mut frames = Vec::new();
        for &slot in slots {
            push_frame(&mut frames, number, |out| {
                payload::push_samples(out, &Commons::own(), &[slot], &[1], &[1.0]);
            });
        }
        frames
    }

    fn disk_with_groups() -> (SimDisk, usize) {
        let disk = SimDisk::new();
        let mut segment = Segment::create(&disk, 1, 1, 1 << 20).unwrap();
        segment.append(&group(1, &[10, 11])).unwrap();
        segment.append(&group(2, &[20, 21])).unwrap();
        (disk, usize::try_from(segment.len_bytes()).unwrap())
    }

    fn replay(disk: &SimDisk) -> (Vec<u32>, SegmentReport) {
        let mut slots = Vec::new();
        let report = read_segment(disk, 1, |_, _, payload| {
            if let Payload::Samples(more, ..) = payload {
                slots.extend(more);
            }
        });
        (slots, report.unwrap())
    }

    #[test]
    fn frames_come_back_in_order() {
        let (disk, _) = disk_with_groups();

        let (slots, report) = replay(&disk);

        assert_eq!(slots, [10, 11, 20, 21]);
        assert_eq!((report.last_group, report.damage.len()), (2, 0));
    }

    #[test]
    fn room_that_was_reserved_is_no_torn_write() {
        let (disk, len) = disk_with_groups();
        assert!(disk.read(&path(1)).unwrap().len() > len, "nothing was reserved");

        let report = replay(&disk).1;
        assert_eq!((report.n_torn_bytes, report.n_written_bytes), (0, len));

        disk.flip_byte(&path(1), len + 99, 1);
        assert_eq!(replay(&disk).1.n_torn_bytes, 100);
    }

    #[test]
    fn a_segment_of_zeros_is_damage_for_room_is_reserved_behind_a_synced_header() {
        let (disk, len) = disk_with_groups();
        disk.create(&path(1)).unwrap().write_all(&vec![0; len]).unwrap();

        assert_eq!(replay(&disk).1.damage.len(), 1);
    }

    #[test]
    fn damage_in_an_acknowledged_group_is_reported_and_confined() {
        let (disk, _) = disk_with_groups();
        disk.flip_byte(&path(1), 40, 1);

        let (slots, report) = replay(&disk);

        assert_eq!(slots, [11, 20, 21]);
        assert_eq!(report.damage.len(), 1);
    }

    #[test]
    fn damage_at_the_end_of_a_group_is_told_from_a_torn_next_one() {
        let (disk, len) = disk_with_groups();
        let n_group_bytes = (len - 28) / 2;
        disk.flip_byte(&path(1), 28 + n_group_bytes - 1, 1);

        let (slots, report) = replay(&disk);

        assert_eq!(slots, [10, 20, 21]);
        assert_eq!(report.damage.len(), 1);
    }

    #[test]
    fn a_segment_under_another_ones_name_is_left_alone() {
        let (disk, _) = disk_with_groups();
        let copy = disk.read(&path(1)).unwrap();
        disk.create(&path(2)).unwrap().write_all(&copy).unwrap();

        let mut n_payloads = 0;
        let report = read_segment(&disk, 2, |_, _, _| n_payloads += 1).unwrap();

        assert_eq!((n_payloads, report.damage.len()), (0, 1));
    }

    #[test]
    fn a_torn_last_group_is_dropped_without_alarm() {
        let (disk, len) = disk_with_groups();
        disk.flip_byte(&path(1), len - 1, 1);

        let (slots, report) = replay(&disk);

        assert_eq!(slots, [10, 11, 20]);
        assert_eq!((report.damage.len(), report.n_torn_bytes > 0), (0, true));
    }
}
