//! A small body whose pieces repeat: what costs a byte a time must cost little a million times.
//!
//! A fuzzer's inputs are short, and so never show what grows with the square of a body's size or
//! holds a hundred times its bytes. Here an input is a recipe for a body of up to a megabyte: pieces
//! that are repeated, and wrapped as protobuf wraps. The time limit and the memory limit of the
//! fuzzer are the check.

use super::{
    loki_json, loki_pb, otlp_logs_json, otlp_logs_pb, otlp_metrics_json, otlp_metrics_pb,
    otlp_traces_json, otlp_traces_pb, rw1_walk,
};
use crate::base::fuzzing::Choices;
use crate::base::varint::push_varint;

/// The largest body that a recipe makes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A recipe.
pub fn amplify(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    let target: fn(&[u8]) = match choices.u8() % 9 {
        0 => rw1_walk,
        1 => otlp_metrics_pb,
        2 => otlp_logs_pb,
        3 => otlp_traces_pb,
        4 => loki_pb,
        5 => otlp_metrics_json,
        6 => otlp_logs_json,
        7 => otlp_traces_json,
        _ => loki_json,
    };
    target(&cook(&mut choices));
}

/// Makes a body: each step takes what is there and repeats it, wraps it, or puts a piece beside it.
fn cook(choices: &mut Choices<'_>) -> Vec<u8> {
    let mut body = choices.piece().to_vec();
    while !choices.is_empty() {
        match choices.u8() {
            // A field with a length, around what is there.
            tag @ 0..=127 => {
                let mut wrapped = vec![tag];
                push_varint(&mut wrapped, body.len() as u64);
                wrapped.append(&mut body);
                body = wrapped;
            }
            128..=191 => {
                let n_times = usize::from(choices.u16());
                body = body.repeat(n_times.min(BODY_BYTES_MAX / body.len().max(1)));
            }
            // The same, each one a little different: a counter takes the place of `##`.
            192..=215 => {
                let n_times = usize::from(choices.u16());
                let n_times = n_times.min(BODY_BYTES_MAX / body.len().max(1));
                body = (0..n_times).flat_map(|n| numbered(&body, n)).collect();
            }
            216..=235 => body.extend_from_slice(choices.piece()),
            _ => {
                let mut front = choices.piece().to_vec();
                front.append(&mut body);
                body = front;
            }
        }
        body.truncate(BODY_BYTES_MAX);
    }
    body
}

fn numbered(body: &[u8], n: usize) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_.";
    let mut numbered = body.to_vec();
    let mut rest = n;
    for byte in numbered.iter_mut().filter(|byte| **byte == b'#') {
        *byte = DIGITS[rest % 64];
        rest /= 64;
    }
    numbered
}
