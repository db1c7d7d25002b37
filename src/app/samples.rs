//! Samples that the server itself makes, into the store by the way that senders' samples take.

use std::collections::BTreeMap;

use xxhash_rust::xxh3::xxh3_128_with_seed;

use crate::model::{Commons, Labels, SeriesMeta};
use crate::storage::{AppendError, Epoch, Part, Storage};

/// Keeps our own keys apart from those of senders' bytes.
const KEY_SEED: u64 = 0x636f_6d6d_6f6e_7377;

/// One sample to be stored.
#[derive(Debug, Clone)]
pub(super) struct OwnSample {
    /// All labels, name and tags included.
    pub(super) labels: Labels,
    /// What the number is.
    pub(super) meta: SeriesMeta,
    /// ms since 1970 UTC.
    pub(super) timestamp_ms: i64,
    /// The number.
    pub(super) value: f64,
}

/// Stores samples, each in the commons that its label names; those without go where everything goes
/// that carries no `commons` label. Returns once they are visible.
pub(super) async fn store(storage: &Storage, samples: Vec<OwnSample>) -> Result<(), String> {
    let mut result = storage.append(parts(storage, &samples)?).await;
    if let Err(AppendError::SeriesRetired) = result {
        // An idle series left between lookup and append; looking up again registers it.
        result = storage.append(parts(storage, &samples)?).await;
    }
    result.map_err(|error| error.to_string())
}

fn parts(storage: &Storage, samples: &[OwnSample]) -> Result<Vec<Part>, String> {
    let mut parts: BTreeMap<u32, Part> = BTreeMap::new();
    // One epoch for all: what is looked up later is no older.
    let epoch = storage.lookup(&[], &mut Vec::new());
    for sample in samples {
        push(storage, epoch, &mut parts, sample)?;
    }
    Ok(parts.into_values().collect())
}

fn push(
    storage: &Storage,
    epoch: Epoch,
    parts: &mut BTreeMap<u32, Part>,
    sample: &OwnSample,
) -> Result<(), String> {
    let commons = commons_of(&sample.labels);
    let key = xxh3_128_with_seed(sample.labels.packed(), KEY_SEED);
    let mut known = Vec::with_capacity(1);
    storage.lookup(&[key], &mut known);
    let series = match known.first().copied().flatten() {
        Some(series) => series,
        None => storage
            .register(key, &commons, &sample.labels, &sample.meta)
            .map_err(|error| error.to_string())?,
    };
    let empty = || Part::Samples {
        commons_idx: series.commons_idx,
        epoch,
        series_idx: Vec::new(),
        timestamps_ms: Vec::new(),
        values: Vec::new(),
    };
    let part = parts.entry(series.commons_idx).or_insert_with(empty);
    if let Part::Samples { series_idx, timestamps_ms, values, .. } = part {
        series_idx.push(series.series_idx);
        timestamps_ms.push(sample.timestamp_ms);
        values.push(sample.value);
    }
    Ok(())
}

fn commons_of(labels: &Labels) -> Commons {
    let named = labels.get("commons").map(Commons::from_stored);
    named.and_then(Result::ok).unwrap_or_else(Commons::unassigned)
}
