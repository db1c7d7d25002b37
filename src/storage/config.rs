//! The `[storage]` section.

use serde::{Deserialize, Serialize};

use super::objects;
use super::retain::KeepRule;
use crate::base::units::{HumanDuration, HumanSize};

/// How much is held where, and for how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Rows older than this are refused at the door and removed from disk; `0` keeps everything.
    pub retention: HumanDuration,
    /// How large all files together may become: then the oldest days go; `0` is no limit.
    pub size_max: HumanSize,
    /// Other ages and sizes of some signals and commons.
    pub keep: Vec<KeepRule>,
    /// The open generation is sealed and written as Parquet at this age.
    pub flush_age: HumanDuration,
    /// A log segment is closed at this size.
    pub segment_size: HumanSize,
    /// The most room that is reserved ahead of the frames of a segment at a time; `0` reserves none.
    pub segment_ahead: HumanSize,
    /// Past this much memory in the head, the open generation is sealed.
    pub head_soft: HumanSize,
    /// Past this, writers wait until a flush has freed memory.
    pub head_firm: HumanSize,
    /// Past this, writers are told to come back.
    pub head_hard: HumanSize,
    /// How long a writer waits past the firm mark before it is told to come back.
    pub firm_wait: HumanDuration,
    /// How long the last flush may take when the server stops; what it leaves stays in the log, and
    /// is replayed at the next start.
    pub stop_flush: HumanDuration,
    /// How long a series without samples counts as active; it leaves memory with the first flush
    /// after, and queries find it in files.
    pub series_idle: HumanDuration,
    /// The most active series of a commons; filled in from `limits.series_per_commons`.
    #[serde(skip, default = "series_per_commons")]
    pub series_per_commons: usize,
    /// Small files of a day are merged into files of at most this size; `0` leaves all as they are.
    pub merged_file_max: HumanSize,
    /// The most active series of one metric of a commons; filled in from `limits.series_per_metric`.
    #[serde(skip, default = "series_per_metric")]
    pub series_per_metric: usize,
    /// The most descriptions of metrics kept of a commons; filled in from
    /// `limits.descriptions_per_commons`.
    #[serde(skip, default = "descriptions_per_commons")]
    pub descriptions_per_commons: usize,
    /// The most series of a commons whose differences are added up; filled in from
    /// `limits.delta_series_per_commons`.
    #[serde(skip, default = "delta_series_per_commons")]
    pub delta_series_per_commons: usize,
    /// How much memory may hold what was read of files about which series are where.
    pub series_cache: HumanSize,
    /// How much memory may hold samples that were read of files, decoded.
    pub sample_cache: HumanSize,
    /// How much memory may hold what may stand in the lines of files.
    pub grams_cache: HumanSize,
    /// How much memory may hold how many rows of files are of which stream and level.
    pub streams_cache: HumanSize,
    /// How much memory may hold the values that labels have in files.
    pub values_cache: HumanSize,
    /// Rows in a Parquet row group.
    pub row_group_rows: usize,
    /// How long a deletion can be taken back; then the bytes of its rows go.
    pub deletion_grace: HumanDuration,
    /// The most runs of rows that one deletion may take.
    pub deletion_ranges_max: usize,
    /// Whether files also go to object storage, and to which.
    pub objects: objects::Config,
}

fn descriptions_per_commons() -> usize {
    super::descriptions::PER_COMMONS_MAX
}

fn delta_series_per_commons() -> usize {
    100_000
}

fn series_per_commons() -> usize {
    500_000
}

fn series_per_metric() -> usize {
    50_000
}

impl Default for Config {
    fn default() -> Self {
        Self {
            retention: HumanDuration::from_secs(90 * 86_400),
            size_max: HumanSize(0),
            keep: Vec::new(),
            flush_age: HumanDuration::from_secs(3600),
            segment_size: HumanSize::from_mib(128),
            segment_ahead: HumanSize::from_mib(16),
            head_soft: HumanSize::from_mib(384),
            head_firm: HumanSize::from_mib(768),
            head_hard: HumanSize::from_mib(1024),
            firm_wait: HumanDuration::from_secs(2),
            series_idle: HumanDuration::from_secs(3600),
            stop_flush: HumanDuration::from_secs(4),
            series_per_commons: series_per_commons(),
            merged_file_max: HumanSize::from_mib(512),
            series_per_metric: series_per_metric(),
            descriptions_per_commons: descriptions_per_commons(),
            delta_series_per_commons: delta_series_per_commons(),
            series_cache: HumanSize::from_mib(128),
            sample_cache: HumanSize::from_mib(128),
            grams_cache: HumanSize::from_mib(128),
            streams_cache: HumanSize::from_mib(32),
            values_cache: HumanSize::from_mib(32),
            row_group_rows: 1 << 20,
            deletion_grace: HumanDuration::from_secs(86_400),
            deletion_ranges_max: 4_000_000,
            objects: objects::Config::default(),
        }
    }
}

impl Config {
    /// Returns how old rows may be that are taken in, ms: as old as any rule keeps them; `None` when
    /// one keeps them for ever.
    pub fn retention_longest_ms(&self) -> Option<i64> {
        let rules = self.keep.iter().filter(|rule| !rule.dry_run);
        let ages = rules.filter_map(|rule| rule.retention.as_ref()).chain([&self.retention]);
        let ages: Vec<i64> = ages.map(|age| age.as_ms()).collect();
        if ages.contains(&0) { None } else { ages.into_iter().max() }
    }

    /// Returns every mistake that shows only when rules are seen together, each begun by its key.
    pub fn mistakes(&self) -> Vec<String> {
        let mut found = self.objects.mistakes();
        for (idx, rule) in self.keep.iter().enumerate() {
            if rule.retention.is_none() && rule.size_max.is_none() {
                found.push(format!(
                    "storage.keep[{idx}] says neither how long (retention) nor how much (size_max)"
                ));
            }
            if rule.size_max == Some(HumanSize(0)) {
                found.push(format!("storage.keep[{idx}].size_max must be more than 0"));
            }
        }
        found
    }
}
