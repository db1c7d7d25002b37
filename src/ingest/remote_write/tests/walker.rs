//! The walker against prost, on requests no sender would write and bytes that are no request.

use prost::Message as _;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};

use super::super::columns::Columns;
use super::super::proto::{
    Exemplar, Histogram, Metadata, TimeSeries, WriteRequest, request, series,
};
use super::super::series::raw_labels;
use super::super::walk::walk;
use crate::ingest::limits::TimeBounds;
use crate::ingest::wire::WireFault;
use crate::ingest::{IngestError, Limits, Seed, Sender};
use crate::model::Grant;

/// Every ms that fits in ns.
const ALWAYS: TimeBounds = TimeBounds { min_ns: i64::MIN, max_ns: i64::MAX };

fn seed() -> Seed {
    Seed::new(Sender { grant: &Grant::open(), tenant: None }, "test")
}

fn columns(body: &[u8]) -> Result<Columns<'_>, IngestError> {
    walk(body, seed(), ALWAYS, &Limits::default())
}

fn check_same(body: &[u8], seed: u64) {
    let want = WriteRequest::decode(body).unwrap();
    let got = columns(body).unwrap();
    let n_items = |one: &TimeSeries| one.samples.len() + one.histograms.len() + one.exemplars.len();
    let with_samples: Vec<&TimeSeries> =
        want.timeseries.iter().filter(|series| n_items(series) > 0).collect();

    let mut start = 0;
    assert_eq!(got.keys.len(), with_samples.len(), "seed {seed}");
    for (idx, series) in with_samples.iter().enumerate() {
        let end = got.sample_ends[idx];
        let labels = raw_labels(got.messages[idx], usize::MAX).unwrap();
        let want: Vec<_> =
            series.labels.iter().map(|l| (l.name.as_bytes(), l.value.as_bytes())).collect();
        assert_eq!(labels, want, "seed {seed}");
        let times: Vec<i64> = series.samples.iter().map(|s| s.timestamp).collect();
        assert_eq!(got.timestamps_ms[start..end], times, "seed {seed}");
        let bits: Vec<u64> = series.samples.iter().map(|s| s.value.to_bits()).collect();
        let got_bits: Vec<u64> = got.values[start..end].iter().map(|v| v.to_bits()).collect();
        assert_eq!(got_bits, bits, "seed {seed}");
        start = end;
        assert_eq!(got.histograms_of(idx).len(), series.histograms.len(), "seed {seed}");
        assert_eq!(got.exemplars_of(idx).len(), series.exemplars.len(), "seed {seed}");
        assert_eq!(got.n_items_of(idx), n_items(series), "seed {seed}");
    }
    assert_eq!(got.rejected.total(), 0, "seed {seed}");
    let families = want.metadata.iter().filter(|m| !m.metric_family_name.is_empty() && m.kind == 1);
    assert_eq!(got.families.len(), families.count(), "seed {seed}");
}

fn random_series(rng: &mut SmallRng) -> TimeSeries {
    let words = ["up", "job", "node", "", "a longer value, longer than most", "é"];
    let word = |rng: &mut SmallRng| words[rng.random_range(0..words.len())];
    let mut one = TimeSeries::default();
    for _ in 0..rng.random_range(0..5) {
        one.labels.extend(series(&[(word(rng), word(rng))], &[]).labels);
    }
    for _ in 0..rng.random_range(0..4) {
        // Times that also fit in ns; the others have their own test.
        let time_ms = rng.random_range(-9_000_000_000_000..9_000_000_000_000);
        let value = f64::from_bits(rng.random());
        one.samples.extend(series(&[], &[(time_ms, value)]).samples);
    }
    one.exemplars = vec![Exemplar::default(); rng.random_range(0..2)];
    one.histograms =
        vec![
            Histogram { count_int: Some(1), zero_count_int: Some(1), ..Histogram::default() };
            rng.random_range(0..2)
        ];
    one
}

/// Cuts a message into its fields, puts unknown ones among them, and shuffles them all.
fn shuffle_fields(message: &[u8], rng: &mut SmallRng) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut reader = crate::ingest::wire::Reader::new(message);
    let mut start = 0;
    while let Some(field) = reader.next_field().unwrap() {
        fields.push(message[start..field.end_offset].to_vec());
        start = field.end_offset;
    }
    let unknown: [&[u8]; 5] = [
        &[0x7a, 0x02, 0x08, 0x01],             // 15: bytes
        &[0x78, 0xff, 0x01],                   // 15: varint
        &[0x79, 1, 2, 3, 4, 5, 6, 7, 8],       // 15: fixed64
        &[0x7d, 1, 2, 3, 4],                   // 15: fixed32
        &[0xf8, 0xff, 0xff, 0xff, 0x0f, 0x00], // 2^29 - 1: varint
    ];
    for _ in 0..rng.random_range(0..3) {
        fields.push(unknown[rng.random_range(0..unknown.len())].to_vec());
    }
    fields.shuffle(rng);
    fields.concat()
}

/// Encodes a request with the fields of each series in random order and unknown ones among them.
fn encode_shuffled(request: &WriteRequest, rng: &mut SmallRng) -> Vec<u8> {
    let mut body = Vec::new();
    for series in &request.timeseries {
        let message = shuffle_fields(&series.encode_to_vec(), rng);
        prost::encoding::encode_key(1, prost::encoding::WireType::LengthDelimited, &mut body);
        prost::encoding::encode_varint(u64::try_from(message.len()).unwrap(), &mut body);
        body.extend(message);
    }
    let metadata = WriteRequest { timeseries: vec![], metadata: request.metadata.clone() };
    body.extend(metadata.encode_to_vec());
    shuffle_fields(&body, rng)
}

fn random_request(rng: &mut SmallRng) -> WriteRequest {
    let n_series = rng.random_range(0..5);
    let mut request = request((0..n_series).map(|_| random_series(rng)).collect());
    request.metadata =
        vec![
            Metadata { kind: 1, metric_family_name: "up".to_owned(), ..Metadata::default() };
            rng.random_range(0..2)
        ];
    request
}

#[test]
fn the_walker_reads_what_prost_reads() {
    for seed in 0..2_000 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let request = random_request(&mut rng);
        check_same(&request.encode_to_vec(), seed);
        check_same(&encode_shuffled(&request, &mut rng), seed);
    }
}

#[test]
fn a_body_cut_anywhere_is_refused_where_prost_refuses_it() {
    for seed in 0..50 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let request = random_request(&mut rng);
        let body = encode_shuffled(&request, &mut rng);
        for n_bytes in 0..body.len() {
            let cut = &body[..n_bytes];
            let is_valid = WriteRequest::decode(cut).is_ok();
            assert_eq!(columns(cut).is_ok(), is_valid, "seed {seed}, {n_bytes} bytes");
        }
    }
}

#[test]
fn flipped_bytes_never_panic_and_what_prost_takes_is_taken() {
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let request = random_request(&mut rng);
        let body = encode_shuffled(&request, &mut rng);
        for _ in 0..20 {
            let mut flipped = body.clone();
            if let Some(byte) = flipped.choose_mut_byte(&mut rng) {
                *byte ^= 1 << rng.random_range(0..8);
            }
            match (columns(&flipped), WriteRequest::decode(&flipped[..])) {
                // prost skips groups; we refuse them.
                (Err(IngestError::Wire(error)), Ok(_)) => {
                    assert_eq!(error.fault, WireFault::WireType, "seed {seed}");
                }
                (Err(error), Ok(_)) => panic!("seed {seed}: {error}"),
                // prost looks into labels and metadata, and refuses more.
                (_, _) => {}
            }
        }
    }
}

trait ChooseByte {
    fn choose_mut_byte(&mut self, rng: &mut SmallRng) -> Option<&mut u8>;
}

impl ChooseByte for Vec<u8> {
    fn choose_mut_byte(&mut self, rng: &mut SmallRng) -> Option<&mut u8> {
        if self.is_empty() {
            return None;
        }
        let idx = rng.random_range(0..self.len());
        self.get_mut(idx)
    }
}

#[test]
fn labels_have_one_key_wherever_they_stand() {
    let labels = [("__name__", "up"), ("instance", "a:9100"), ("job", "node")];
    let whole = series(&labels, &[(1, 1.0)]).encode_to_vec();
    let field = |one: TimeSeries| one.encode_to_vec();
    let first = field(series(&labels[..1], &[]));
    let rest = field(series(&labels[1..], &[]));
    let sample = field(series(&[], &[(1, 1.0)]));
    let key = |message: Vec<u8>| {
        let mut body = Vec::new();
        prost::encoding::encode_key(1, prost::encoding::WireType::LengthDelimited, &mut body);
        prost::encoding::encode_varint(u64::try_from(message.len()).unwrap(), &mut body);
        body.extend(message);
        columns(&body).unwrap().keys
    };

    let want = key(whole);

    assert_eq!(key([&sample[..], &first, &rest].concat()), want, "samples first");
    assert_eq!(key([&first[..], &sample, &rest].concat()), want, "samples between");
    assert_ne!(key([&rest[..], &first, &sample].concat()), want, "another order of labels");
}

#[test]
fn the_scattered_labels_of_one_series_do_not_leak_into_the_next() {
    let mut one = series(&[("__name__", "a")], &[(1, 1.0)]).encode_to_vec();
    one.extend(series(&[("b", "c")], &[]).encode_to_vec());
    let plain = request(vec![series(&[("__name__", "plain")], &[(1, 1.0)])]).encode_to_vec();
    let mut both = vec![0x0a, u8::try_from(one.len()).unwrap()];
    both.extend(one);
    both.extend(&plain);

    let keys = columns(&both).unwrap().keys;

    assert_eq!(keys[1], columns(&plain).unwrap().keys[0]);
}

#[test]
fn more_series_or_samples_than_the_limit_are_refused_early() {
    let check = |body: &[u8]| {
        let error = columns(body).unwrap_err();
        assert_eq!(error.reason(), "records_per_request");
    };
    check(&[0x0a, 0x00].repeat(16 << 20));
    check(&[0x0a, 0x02, 0x12, 0x00].repeat(1 << 20));
    check(&[0x0a, 0x02, 0x22, 0x00].repeat(1 << 20));
    let mut one_series = vec![0x0a, 0x80, 0x80, 0x80, 0x01];
    one_series.extend([0x12, 0x00].repeat(1 << 20));
    check(&one_series);
}

#[test]
fn a_negative_zero_stays_negative() {
    // By hand: prost leaves it out as if it were the default.
    let body = [0x0a, 0x0b, 0x12, 0x09, 0x09, 0, 0, 0, 0, 0, 0, 0, 0x80];

    assert!(columns(&body).unwrap().values[0].is_sign_negative());
}

#[test]
fn a_hundred_thousand_samples_are_taken() {
    let body = [0x0a, 0x02, 0x12, 0x00].repeat(100_000);

    assert_eq!(columns(&body).unwrap().values.len(), 100_000);
}
