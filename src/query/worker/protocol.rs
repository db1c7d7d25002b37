//! The kinds of frames, and Arrow batches as payloads.

use arrow::array::RecordBatch;
use arrow::error::ArrowError;
use arrow::ipc::writer::StreamWriter;
use bytes::Bytes;

use crate::model::{Commons, ipc};

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident = $number:literal),* $(,)?) => {
        /// What a frame is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u8)]
        pub(super) enum Kind {
            $($(#[$doc])* $name = $number),*
        }

        impl Kind {
            /// Reads the byte on the pipe.
            pub(super) fn from_u8(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Kind::$name),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    /// To the worker: JSON [`Hello`].
    Hello = 1,
    /// To the worker: JSON `sql::Question`.
    Question = 2,
    /// To the worker: a commons and an Arrow stream with one batch, see [`encode_rows`].
    HeadRows = 3,
    /// To the worker: the scan has no more rows.
    HeadEnd = 4,
    /// Both ways: asks for, or is, JSON `[sql::HeadRange]`.
    HeadRanges = 5,
    /// To the worker: JSON `sql::Failure`, why the scan has no more rows.
    HeadFailed = 6,
    /// To the worker: the bytes that were asked for.
    FileBytes = 7,
    /// To the worker: JSON `sql::Failure`, why there are no bytes.
    FileFailed = 8,
    /// To the server: JSON `sql::HeadRequest`.
    HeadOpen = 16,
    /// To the server: one more batch, please.
    HeadNext = 17,
    /// To the server: the limits are set.
    Ready = 18,
    /// To the server: a piece of the answer's Arrow stream.
    Answer = 19,
    /// To the server: JSON `Option<sql::Truncated>`.
    Done = 20,
    /// To the server: JSON `sql::Failure`.
    Failed = 21,
    /// To the server: JSON `sql::PromqlRequest`; its rows are then asked for as those of the head.
    PromqlOpen = 22,
    /// To the server: JSON `sql::FileRequest`.
    FileRead = 23,
}

/// What a worker is told when it starts.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(super) struct Hello {
    /// The most it may map beyond what it has mapped by then.
    pub(super) memory_bytes: u64,
}

/// Writes head rows: `len u8 | commons | Arrow IPC stream`.
pub(super) fn encode_rows(commons: &Commons, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let name = commons.as_str().as_bytes();
    let mut out = Vec::with_capacity(1 + name.len() + batch.get_array_memory_size());
    out.push(u8::try_from(name.len()).expect("a commons has at most 63 letters"));
    out.extend_from_slice(name);
    let mut writer = StreamWriter::try_new(out, batch.schema_ref())?;
    writer.write(batch)?;
    writer.into_inner()
}

/// Reads what [`encode_rows`] wrote.
pub(super) fn decode_rows(payload: &Bytes) -> Result<(Commons, RecordBatch), ArrowError> {
    let broken = || ArrowError::IpcError("these are no head rows".to_owned());
    let (&len, rest) = payload.split_first().ok_or_else(broken)?;
    let (name, stream) = rest.split_at_checked(usize::from(len)).ok_or_else(broken)?;
    let name = std::str::from_utf8(name).map_err(|_| broken())?;
    let commons = Commons::from_stored(name).map_err(|_| broken())?;
    let batch = ipc::read_batch(stream).ok_or_else(broken)?;
    Ok((commons, batch))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, RecordBatchOptions, UInt64Array};
    use arrow::datatypes::Schema;

    use super::*;

    #[test]
    fn head_rows_are_read_back() {
        let column: ArrayRef = Arc::new(UInt64Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let commons = Commons::new("heart.example").unwrap();

        let payload = Bytes::from(encode_rows(&commons, &batch).unwrap());

        assert_eq!(decode_rows(&payload).unwrap(), (commons, batch));
    }

    #[test]
    fn rows_without_columns_keep_their_number() {
        let options = RecordBatchOptions::new().with_row_count(Some(5));
        let schema = Arc::new(Schema::empty());
        let batch = RecordBatch::try_new_with_options(schema, vec![], &options).unwrap();

        let payload = Bytes::from(encode_rows(&Commons::own(), &batch).unwrap());

        assert_eq!(decode_rows(&payload).unwrap().1.num_rows(), 5);
    }

    #[test]
    fn every_kind_is_read_back() {
        for number in 0..=u8::MAX {
            assert!(Kind::from_u8(number).is_none_or(|kind| kind as u8 == number));
        }
    }
}
