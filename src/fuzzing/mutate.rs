//! Small accidents to an input, all from one seed: what libFuzzer does for hours, done for a moment.

use rand::Rng as _;
use rand::rngs::SmallRng;

/// Bytes that tend to lie on an edge.
const EDGES: &[&[u8]] = &[
    b"\0",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\0\0\0\x80",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"18446744073709551616",
    b"-9223372036854775808",
    b"1e400",
    b"NaN",
    b"\xf0\x9f\x98\x80",
    b"\\ud83d",
    b"((((((((",
    b"[[[[[[[[",
    b"{{{{{{{{",
];

/// Returns `input` with one to four accidents; `other` is spliced in now and then.
pub(super) fn mutate(input: &[u8], other: &[u8], rng: &mut SmallRng) -> Vec<u8> {
    let mut out = input.to_vec();
    for _ in 0..rng.random_range(1..=4) {
        accident(&mut out, other, rng);
    }
    out
}

fn accident(out: &mut Vec<u8>, other: &[u8], rng: &mut SmallRng) {
    let at = rng.random_range(0..=out.len());
    let n = rng.random_range(1..=16).min(out.len() - at);
    match rng.random_range(0..8) {
        0 if n > 0 => out[at] ^= 1 << rng.random_range(0..8),
        1 if n > 0 => out[at] = rng.random(),
        2 => drop(out.drain(at..at + n)),
        3 => {
            let piece = out[at..at + n].to_vec();
            let to = rng.random_range(0..=out.len());
            drop(out.splice(to..to, piece));
        }
        4 => out.truncate(at),
        5 => {
            let from = rng.random_range(0..=other.len());
            out.truncate(at);
            out.extend_from_slice(&other[from..]);
        }
        6 => {
            let edge = EDGES[rng.random_range(0..EDGES.len())];
            out[at..at + n].iter_mut().zip(edge).for_each(|(byte, edge)| *byte = *edge);
        }
        _ => {
            let edge = EDGES[rng.random_range(0..EDGES.len())];
            drop(out.splice(at..at, edge.iter().copied()));
        }
    }
}
