//! What must hold of any parameter: times and numbers are refused or come back as they were.

use super::{alertmanager, loki, number, prometheus, tempo, time};
use crate::base::fuzzing::Choices;
use crate::base::units;

/// Times, durations, sizes and names as they stand in a request.
pub fn api_params(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for line in text.lines() {
        if let Some(ms) = time::parse_ms(line) {
            let written = time::rfc3339(ms);
            assert!(ms.abs() > 8_000_000_000_000 || time::parse_ms(&written) == Some(ms), "{line}");
        }
        let _ = time::parse_duration_ms(line);
        if let Ok(ms) = units::parse_duration_ms(line) {
            let written = units::format_duration_ms(ms);
            assert_eq!(units::parse_duration_ms(&written), Ok(ms), "{line} was written {written}");
        }
        drop(units::parse_size_bytes(line));
        drop(prometheus::escape::unescape(line));
    }
}

/// A remote-read request as it comes: read or refused.
pub fn remote_read(bytes: &[u8]) {
    drop(prometheus::read::asked_of(bytes));
    // Most bytes are no snappy: the message itself, too.
    if let Ok(compressed) = snap::raw::Encoder::new().compress_vec(bytes) {
        drop(prometheus::read::asked_of(&compressed));
    }
}

/// Alerts and silences as others post them.
pub fn am_bodies(bytes: &[u8]) {
    alertmanager::fuzzing::bodies(bytes);
}

/// Questions to Tempo over gRPC, and the tags of those over HTTP.
pub fn tempo_calls(bytes: &[u8]) {
    tempo::fuzzing::calls(bytes);
}

/// What a client of a live tail says.
pub fn tail_frames(bytes: &[u8]) {
    loki::fuzzing::frames(bytes);
}

/// Numbers as they stand in an answer: the text is the number.
pub fn api_numbers(bytes: &[u8]) {
    let mut choices = Choices::new(bytes);
    while !choices.is_empty() {
        let value = choices.f64();
        let mut text = String::new();
        number::push_sample_value(&mut text, value);
        let read: f64 = text.parse().expect("a number");
        assert!(read.to_bits() == value.to_bits() || value.is_nan() && read.is_nan(), "{text}");
        let shown = crate::query::promql::format_value(value);
        assert_eq!(shown, text, "both dialects write one number alike");
    }
}
