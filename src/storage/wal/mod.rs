//! The write-ahead log: a batch is on disk here before the client hears "yes".
//!
//! ```text
//! wal/<segment:016x>.wal
//!   header   magic "CWWAL001" | segment u64 | generation u64 | crc u32
//!   frame    magic u32 | len u32 | group u64 | offset u32 | crc u32 | payload
//! ```
//! All numbers are little-endian. The crc (CRC-32C) of a frame covers all between the magic and
//! itself, and the payload. Frames written before one sync share a group number, and groups only
//! grow; `offset` counts the group's bytes before the frame. So bad bytes that no later group
//! follows are the write that was under way when the power went, and are dropped; bad bytes that a
//! later group follows had been acknowledged: that is damage, reported, and confined to their frame,
//! because the reader finds the next frame by its magic. What a payload says is in [`payload`].
//!
//! A segment belongs to one generation of the head; cutting old segments is `flush`'s decision.

pub mod coding;
pub mod frame;
pub mod packed;
pub mod payload;
pub mod replay;
pub mod segment;

/// The folder of all segments.
pub const DIR: &str = "wal";

/// Returns the path of a segment.
pub fn path(segment: u64) -> String {
    format!("{DIR}/{segment:016x}.wal")
}

/// Reads a segment's number back from its file name.
pub fn segment_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(".wal")?, 16).ok()
}
