//! Reads one Arrow batch from an IPC stream that may be damaged.
//!
//! `arrow-ipc` believes the lengths in a stream: it asks the allocator for any number of bytes, which
//! ends the process, and panics on a buffer that lies outside its message. So the lengths are
//! compared with the bytes that are there first; what it still stumbles over is an error.

use arrow::array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use arrow_ipc::{Message, RecordBatch as Shape, root_as_message};

use crate::base::shield::shield;

/// What a length is preceded by, since Arrow 0.15.
const CONTINUATION: [u8; 4] = [0xff; 4];

/// Returns the first batch of a stream, or `None` when the bytes are not a stream of ours.
pub fn read_batch(stream: &[u8]) -> Option<RecordBatch> {
    if !is_whole(stream) {
        return None;
    }
    shield("arrow-ipc", || StreamReader::try_new(stream, None).ok()?.next()?.ok()).ok()?
}

/// Returns true when the bytes are whole messages whose buffers lie inside them.
pub fn is_whole(stream: &[u8]) -> bool {
    has_all_it_names(stream) == Some(true)
}

/// Walks the messages of a stream; `None` when it ends inside one.
fn has_all_it_names(mut rest: &[u8]) -> Option<bool> {
    while !rest.is_empty() {
        let mut len;
        (len, rest) = rest.split_first_chunk::<4>()?;
        if *len == CONTINUATION {
            (len, rest) = rest.split_first_chunk::<4>()?;
        }
        let n_bytes = usize::try_from(i32::from_le_bytes(*len)).ok()?;
        if n_bytes == 0 {
            break;
        }
        let (message, after) = rest.split_at_checked(n_bytes)?;
        let message = root_as_message(message).ok()?;
        let n_body_bytes = usize::try_from(message.bodyLength()).ok()?;
        let (_, after) = after.split_at_checked(n_body_bytes)?;
        if !fits(&message) {
            return Some(false);
        }
        rest = after;
    }
    Some(true)
}

/// Checks that each buffer of a message lies in its body. We compress none: the length before a
/// compressed one is believed as well.
fn fits(message: &Message<'_>) -> bool {
    let of_dictionary = message.header_as_dictionary_batch().and_then(|batch| batch.data());
    let Some(shape) = message.header_as_record_batch().or(of_dictionary) else { return true };
    let is_inside = |shape: &Shape<'_>| {
        shape.buffers().is_none_or(|buffers| {
            buffers.iter().all(|buffer| {
                let end = buffer.offset().checked_add(buffer.length());
                buffer.offset() >= 0
                    && buffer.length() >= 0
                    && end.is_some_and(|end| end <= message.bodyLength())
            })
        })
    };
    shape.compression().is_none() && is_inside(&shape)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, StringArray, UInt64Array};
    use arrow_ipc::writer::StreamWriter;

    use super::*;

    fn stream() -> (RecordBatch, Vec<u8>) {
        let n: ArrayRef = Arc::new(UInt64Array::from(vec![Some(1), None]));
        let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "bc"]));
        let batch = RecordBatch::try_from_iter([("n", n), ("text", text)]).unwrap();
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
        writer.write(&batch).unwrap();
        (batch, writer.into_inner().unwrap())
    }

    #[test]
    fn a_batch_is_read_back() {
        let (batch, stream) = stream();

        assert_eq!(read_batch(&stream), Some(batch));
    }

    #[test]
    fn a_stream_that_is_cut_off_is_none() {
        let (_, stream) = stream();
        // The last eight bytes only say that it ends.
        for len in 0..stream.len() - 8 {
            assert_eq!(read_batch(&stream[..len]), None, "cut at {len}");
        }
    }

    #[test]
    fn no_changed_byte_ends_the_process() {
        let (_, stream) = stream();
        for at in 0..stream.len() {
            for flip in [0x01, 0x10, 0x80, 0xff] {
                let mut damaged = stream.clone();
                damaged[at] ^= flip;
                drop(read_batch(&damaged));
            }
        }
    }
}
