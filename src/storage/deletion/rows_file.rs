//! The rows of one deletion on disk: `deletions/<id, 16 hex digits>.rows`.
//!
//! ```text
//! file     magic "CWDEL001" | id u64 | entries
//! entry    len u32 | crc u32 | body                       crc covers id and body
//! body     path len u16 | path | n_ranges u32 | ranges    of one Parquet file
//! range    gap varint | rows varint                       gap: rows since the last range's end
//! ```
//! Numbers are little-endian, checksums CRC-32C. Each entry has a checksum of its own, so that
//! damage costs the answers one file, or those of the entries behind it if a length is hit: what was
//! deleted from a file is then unknown, so none of it is shown.

use std::collections::HashMap;

use crc32c::{crc32c, crc32c_append};

use crate::base::varint::push_varint;
use crate::storage::files::deleted::DeletedRows;

/// The folder of all deletions' rows.
pub(super) const DIR: &str = "deletions";
/// How a file begins.
const MAGIC: &[u8; 8] = b"CWDEL001";
/// Magic and id.
const HEADER_BYTES: usize = 16;
/// The fewest bytes of a range.
const RANGE_BYTES_MIN: usize = 2;

/// Rows by the path of their file.
pub(in crate::storage) type RowsByPath = HashMap<String, DeletedRows>;

/// Returns the path of a deletion's rows.
pub(in crate::storage) fn path(id: u64) -> String {
    format!("{DIR}/{id:016x}.rows")
}

/// Returns the deletion that a file in the folder belongs to.
pub(in crate::storage) fn id_of(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".rows").filter(|digits| digits.len() == 16)?;
    u64::from_str_radix(digits, 16).ok().filter(|id| path(*id).ends_with(name))
}

/// Writes the rows of a deletion.
pub(in crate::storage) fn encode<'a>(
    id: u64,
    files: impl Iterator<Item = (&'a str, &'a DeletedRows)>,
) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.extend(id.to_le_bytes());
    for (path, rows) in files {
        let body = body(path, rows);
        let len = u32::try_from(body.len()).expect("the ranges of a deletion are limited");
        out.extend(len.to_le_bytes());
        out.extend(crc(id, &body).to_le_bytes());
        out.extend(body);
    }
    out
}

fn body(path: &str, rows: &DeletedRows) -> Vec<u8> {
    let mut body = Vec::with_capacity(path.len() + 6 + 4 * rows.ranges().len());
    body.extend(u16::try_from(path.len()).expect("a path of ours is short").to_le_bytes());
    body.extend(path.as_bytes());
    let n_ranges = u32::try_from(rows.ranges().len()).expect("the ranges are limited");
    body.extend(n_ranges.to_le_bytes());
    let mut at = 0;
    for range in rows.ranges() {
        push_varint(&mut body, (range.start - at) as u64);
        push_varint(&mut body, range.len() as u64);
        at = range.end;
    }
    body
}

fn crc(id: u64, body: &[u8]) -> u32 {
    crc32c_append(crc32c(&id.to_le_bytes()), body)
}

/// Reads what is whole; entries that are damaged are left out.
pub(in crate::storage) fn decode(id: u64, bytes: &[u8]) -> RowsByPath {
    let mut found = RowsByPath::new();
    let header = bytes.get(..HEADER_BYTES);
    if header.is_none_or(|header| &header[..8] != MAGIC || header[8..] != id.to_le_bytes()) {
        return found;
    }
    let mut rest = &bytes[HEADER_BYTES..];
    while let Some((entry, behind)) = entry(id, rest) {
        if let Some((path, rows)) = entry.and_then(read_body) {
            found.insert(path, rows);
        }
        rest = behind;
    }
    found
}

/// Returns the body of the next entry, if it is whole, and what stands behind it.
fn entry(id: u64, bytes: &[u8]) -> Option<(Option<&[u8]>, &[u8])> {
    let (len, rest) = bytes.split_first_chunk::<4>()?;
    let (sum, rest) = rest.split_first_chunk::<4>()?;
    let (body, behind) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    let is_whole = u32::from_le_bytes(*sum) == crc(id, body);
    Some((is_whole.then_some(body), behind))
}

fn read_body(body: &[u8]) -> Option<(String, DeletedRows)> {
    let (len, rest) = body.split_first_chunk::<2>()?;
    let (path, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*len)))?;
    let (n_ranges, mut rest) = rest.split_first_chunk::<4>()?;
    let n_ranges = u32::from_le_bytes(*n_ranges) as usize;
    if n_ranges > rest.len() / RANGE_BYTES_MIN {
        return None;
    }
    let (mut rows, mut at) = (DeletedRows::default(), 0_usize);
    for _ in 0..n_ranges {
        let start = at.checked_add(take_varint(&mut rest)?)?;
        at = start.checked_add(take_varint(&mut rest)?)?;
        if !rows.push(start..at) {
            return None;
        }
    }
    let path = String::from_utf8(path.to_vec()).ok()?;
    rest.is_empty().then_some((path, rows))
}

fn take_varint(bytes: &mut &[u8]) -> Option<usize> {
    let mut number = 0_usize;
    for shift in (0..56).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= usize::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(ranges: &[(usize, usize)]) -> DeletedRows {
        let mut rows = DeletedRows::default();
        assert!(ranges.iter().all(|&(start, end)| rows.push(start..end)));
        rows
    }

    fn two() -> Vec<(&'static str, DeletedRows)> {
        vec![
            ("parquet/a", rows(&[(0, 1), (5, 300)])),
            ("parquet/b", rows(&[(1_000_000, 1_000_007)])),
        ]
    }

    #[test]
    fn what_was_written_is_read() {
        let bytes = encode(7, two().iter().map(|(path, rows)| (*path, rows)));

        let found = decode(7, &bytes);

        let wanted: RowsByPath =
            two().into_iter().map(|(path, rows)| (path.to_owned(), rows)).collect();
        assert_eq!(found, wanted);
        assert!(decode(8, &bytes).is_empty(), "it is another deletion's");
    }

    #[test]
    fn a_flipped_bit_costs_what_it_hits_and_is_never_a_wrong_row() {
        let wanted: RowsByPath =
            two().into_iter().map(|(path, rows)| (path.to_owned(), rows)).collect();
        let whole = encode(7, two().iter().map(|(path, rows)| (*path, rows)));
        for at in 0..whole.len() {
            for mask in [1, 4, 0x80] {
                let mut bytes = whole.clone();
                bytes[at] ^= mask;

                let found = decode(7, &bytes);

                assert!(found.len() < 2, "{at}: nobody noticed");
                assert!(found.iter().all(|(path, rows)| wanted.get(path) == Some(rows)), "{at}");
            }
        }
    }

    #[test]
    fn names_are_read_back_and_others_are_no_deletions() {
        assert_eq!(id_of("000000000000001f.rows"), Some(31));
        for name in ["1f.rows", "000000000000001F.rows", "000000000000001f.rows.tmp", "x"] {
            assert_eq!(id_of(name), None, "{name}");
        }
    }
}
