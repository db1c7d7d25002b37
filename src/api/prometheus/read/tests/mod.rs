//! Requests, frames, and what a reader makes of them.

mod reading;
mod round_trip;

use super::messages::Query;
use super::*;
use reading::{Value, decode, split_uvarint};

fn request(forms: &[i32], matchers: Vec<LabelMatcher>) -> Vec<u8> {
    let query = Query { start_timestamp_ms: 1, end_timestamp_ms: 9, matchers };
    let message = ReadRequest { queries: vec![query], accepted_response_types: forms.to_vec() };
    snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap()
}

fn matcher(ty: i32, name: &str, value: &str) -> LabelMatcher {
    LabelMatcher { r#type: ty, name: name.to_owned(), value: value.to_owned() }
}

#[test]
fn a_request_says_what_it_wants_and_in_which_form() {
    let plain = asked_of(&request(&[], vec![matcher(0, "a", "b")])).unwrap();
    let streamed = asked_of(&request(&[1, 0], vec![matcher(3, "a", "b.*")])).unwrap();
    let unknown = asked_of(&request(&[7, 0], Vec::new())).unwrap();

    assert!(!plain.is_streamed && streamed.is_streamed && !unknown.is_streamed);
    assert_eq!(plain.queries[0].matchers, [Matcher::equal("a", "b")]);
    assert_eq!((plain.queries[0].start_ms, plain.queries[0].end_ms), (1, 9));
    assert!(streamed.queries[0].matchers[0].matches("c"));
}

/// Returns a request of so many queries with two regular expressions each.
fn many_regexes(n_queries: usize) -> Vec<u8> {
    let matchers = vec![matcher(2, "a", "b.*"), matcher(3, "c", "d.*")];
    let query = Query { start_timestamp_ms: 1, end_timestamp_ms: 9, matchers };
    let queries = vec![query; n_queries];
    let message = ReadRequest { queries, accepted_response_types: Vec::new() };
    snap::raw::Encoder::new().compress_vec(&message.encode_to_vec()).unwrap()
}

#[test]
fn all_queries_of_a_request_share_the_patterns_of_one() {
    assert_eq!(asked_of(&many_regexes(32)).unwrap().queries.len(), 32);
    let error = asked_of(&many_regexes(33)).unwrap_err();
    assert_eq!(error.message, "the request has 66 regular expressions of at most 64");
}

#[test]
fn what_is_no_request_is_refused() {
    let long = "a".repeat(MATCHER_BYTES_MAX + 1);
    for body in [
        b"not snappy".to_vec(),
        request(&[], vec![matcher(9, "a", "b")]),
        request(&[], vec![matcher(2, "a", "(")]),
        request(&[], vec![matcher(0, "a", &long)]),
        request(&[], vec![matcher(0, "a", "b"); MATCHERS_MAX + 1]),
        request(&[], vec![matcher(2, "a", &"a".repeat(REGEX_BYTES_MAX + 1))]),
        // Three megabytes of program, as a query may not have it either.
        request(&[], vec![matcher(3, "a", "((a{100}){100}){10}")]),
        many_regexes(33),
        snap::raw::Encoder::new().compress_vec(&vec![0; REQUEST_BYTES_MAX + 1]).unwrap(),
    ] {
        assert!(asked_of(&body).is_err(), "{} bytes", body.len());
    }
}

#[test]
fn a_stream_is_frames_with_a_checksum() {
    let labels = Labels::from_pairs([("__name__", "up")]);
    let timestamps_ms: Vec<i64> = (0..250).map(|n| 1_000 * n).collect();
    let values: Vec<f64> = (0..250).map(|n| f64::from(n) / 3.0).collect();
    let one = SeriesData {
        labels,
        timestamps_ms: timestamps_ms.clone(),
        values: values.clone(),
        ..SeriesData::default()
    };

    let stream = frames_of(&[Vec::new(), vec![one]]);

    let (length, rest) = split_uvarint(&stream).unwrap();
    let (crc, message) = rest.split_at(4);
    assert_eq!(message.len() as u64, length);
    assert_eq!(crc, crc32c::crc32c(message).to_be_bytes());
    let message = ChunkedReadResponse::decode(message).unwrap();
    assert_eq!(message.query_index, 1);
    let chunks = &message.chunked_series[0].chunks;
    assert_eq!(
        chunks.iter().map(|chunk| chunk.min_time_ms).collect::<Vec<_>>(),
        [0, 120_000, 240_000]
    );
    let decoded: Vec<(i64, Value)> =
        chunks.iter().flat_map(|chunk| decode(chunk.r#type, &chunk.data).unwrap()).collect();
    let values = values.into_iter().map(|value| Value::Number(value.to_bits()));
    assert_eq!(decoded, timestamps_ms.into_iter().zip(values).collect::<Vec<_>>());
}
