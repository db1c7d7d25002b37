//! Storage's own counters.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use super::deltas::Why;
use super::objects;
use crate::model::Commons;

/// A label set of one pair.
pub type Label = [(&'static str, String); 1];

/// Counters, gauges and histograms of the write path.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Bytes synced to the log.
    pub wal_synced_bytes: Counter,
    /// Time from writing a group to its sync's return.
    pub wal_sync_seconds: Histogram,
    /// Requests in a group.
    pub wal_group_requests: Histogram,
    /// Stretches of acknowledged log bytes that could not be read at start.
    pub wal_damage: Counter,
    /// Time to write one generation as Parquet.
    pub flush_seconds: Histogram,
    /// Generations flushed, by outcome.
    pub flushes: Family<Label, Counter>,
    /// Merges of files, by outcome.
    pub merges: Family<Label, Counter>,
    /// Time to merge files into one.
    pub merge_seconds: Histogram,
    /// Rows written to Parquet, by signal.
    pub flushed_rows: Family<Label, Counter>,
    /// Memory in the head.
    pub head_bytes: Gauge,
    /// Times a pressure mark was passed, by mark.
    pub pressure: Family<Label, Counter>,
    /// Requests waiting for the writer.
    pub queue_requests: Gauge,
    /// Active series, by commons.
    pub series: Family<Label, Gauge>,
    /// Series that were active before the start and have not come back yet, by commons.
    pub held_series: Family<Label, Gauge>,
    /// Series that left because they were idle, by commons.
    pub retired_series: Family<Label, Counter>,
    /// Attempts to register a new series that a limit refused, by commons and limit.
    refused_series: Family<[(&'static str, String); 2], Counter>,
    /// Series whose differences are added up.
    pub delta_series: Gauge,
    /// Data points of differences that could not be added up, by reason.
    left_out_deltas: Family<[(&'static str, &'static str); 1], Counter>,
    /// What series take in memory beside their samples.
    pub series_bytes: Gauge,
    /// What is kept of what was read of files, by cache: series, samples, grams, streams.
    pub cache_bytes: Family<[(&'static str, &'static str); 1], Gauge>,
    /// How often something was looked for there, by cache and whether it was there.
    pub cache_lookups: Family<[(&'static str, &'static str); 2], Counter>,
    /// Live Parquet files, by signal.
    pub files: Family<Label, Gauge>,
    /// Size of live Parquet files, by signal.
    pub file_bytes: Family<Label, Gauge>,
    /// 1 while the disk is full.
    pub disk_full: Gauge,
    /// Live files that no answer uses because they are damaged.
    pub damaged_files: Gauge,
    /// Damaged log segments in the quarantine.
    pub lost_segments: Gauge,
    /// Files that left the catalog for their age or size, by signal and reason.
    pub expired_files: Family<[(&'static str, String); 2], Counter>,
    /// Their size.
    pub expired_bytes: Family<[(&'static str, String); 2], Counter>,
    /// What may be stored, by rule.
    pub budget_bytes: Family<Label, Gauge>,
    /// What is stored of it.
    pub budget_used_bytes: Family<Label, Gauge>,
    /// What rules that remove nothing would remove, by rule.
    pub dry_run_bytes: Family<Label, Gauge>,
    /// 1 while the clock is not followed because it has made a leap.
    pub clock_doubted: Gauge,
    /// Deletions that were carried out.
    pub deletions: Counter,
    /// Rows that they took out of all answers.
    pub deleted_rows: Counter,
    /// Deletions whose bytes are gone.
    pub erased_deletions: Counter,
    /// Object storage.
    pub objects: objects::Metrics,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 2.0, 18))
}

impl Metrics {
    /// Returns the counter of new series of a commons that a limit has refused.
    pub fn refused_series(&self, commons: &Commons, limit: &str) -> Counter {
        let labels = [("commons", commons.to_string()), ("limit", limit.to_owned())];
        self.refused_series.get_or_create_owned(&labels)
    }

    /// Returns the counter of differences that could not be added up for this reason.
    pub fn left_out_deltas(&self, why: Why) -> Counter {
        self.left_out_deltas.get_or_create_owned(&[("reason", why.as_str())])
    }

    /// Creates the metrics and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self {
            wal_synced_bytes: Counter::default(),
            wal_sync_seconds: seconds(),
            wal_group_requests: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            wal_damage: Counter::default(),
            flush_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 18)),
            flushes: Family::default(),
            merges: Family::default(),
            merge_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 18)),
            flushed_rows: Family::default(),
            head_bytes: Gauge::default(),
            pressure: Family::default(),
            queue_requests: Gauge::default(),
            series: Family::default(),
            held_series: Family::default(),
            retired_series: Family::default(),
            refused_series: Family::default(),
            delta_series: Gauge::default(),
            left_out_deltas: Family::default(),
            series_bytes: Gauge::default(),
            cache_bytes: Family::default(),
            cache_lookups: Family::default(),
            files: Family::default(),
            file_bytes: Family::default(),
            disk_full: Gauge::default(),
            damaged_files: Gauge::default(),
            lost_segments: Gauge::default(),
            expired_files: Family::default(),
            expired_bytes: Family::default(),
            budget_bytes: Family::default(),
            budget_used_bytes: Family::default(),
            dry_run_bytes: Family::default(),
            clock_doubted: Gauge::default(),
            deletions: Counter::default(),
            deleted_rows: Counter::default(),
            erased_deletions: Counter::default(),
            objects: objects::Metrics::register(registry),
        };
        let mut add = |name: &str, help: &str, metric: &dyn Fn(&mut Registry, String, String)| {
            metric(registry, format!("commonwatch_{name}"), help.to_owned());
        };
        macro_rules! add {
            ($name:literal, $help:literal, $field:ident) => {
                add($name, $help, &|r, name, help| r.register(name, help, metrics.$field.clone()));
            };
        }
        add!("wal_synced_bytes", "Bytes synced to the write-ahead log", wal_synced_bytes);
        add!("wal_sync_seconds", "Time to write and sync one group", wal_sync_seconds);
        add!("wal_group_requests", "Requests that shared one sync", wal_group_requests);
        add!(
            "wal_damage",
            "Stretches of acknowledged log bytes that could not be read",
            wal_damage
        );
        add!("flush_seconds", "Time to write one generation as Parquet", flush_seconds);
        add!("storage_flushes", "Generations flushed, by outcome", flushes);
        add!("storage_merges", "Merges of files into one, by outcome", merges);
        add!("storage_merge_seconds", "Time to merge files into one", merge_seconds);
        add!("storage_flushed_rows", "Rows written to Parquet, by signal", flushed_rows);
        add!("storage_head_bytes", "Memory held by rows not yet in files", head_bytes);
        add!("storage_pressure", "Times a pressure mark was passed, by mark", pressure);
        add!("storage_queue_requests", "Requests waiting for the log writer", queue_requests);
        add!("storage_series", "Active series, by commons", series);
        add!(
            "storage_held_series",
            "Series of before the start whose places are held, by commons",
            held_series
        );
        add!("storage_retired_series", "Series that left memory for idleness", retired_series);
        add!("storage_refused_series", "New series that a limit refused", refused_series);
        add!("storage_delta_series", "Series whose differences are added up", delta_series);
        add!(
            "storage_left_out_deltas",
            "Data points of delta temporality that could not be added up, by reason",
            left_out_deltas
        );
        add!("storage_series_bytes", "Memory held by labels, indexes and keys", series_bytes);
        add!(
            "storage_cache_bytes",
            "Memory held by what was read of files, by cache: which series are where \
             (storage.series_cache), decoded samples (storage.sample_cache), what may stand in lines \
             (storage.grams_cache), how many rows are of which stream (storage.streams_cache), values of \
             labels (storage.values_cache)",
            cache_bytes
        );
        add!(
            "storage_cache_lookups",
            "Row groups, of samples runs of a series, that were looked for, by cache and outcome: hit \
             or miss",
            cache_lookups
        );
        add!("storage_files", "Live Parquet files, by signal", files);
        add!("storage_file_bytes", "Size of live Parquet files, by signal", file_bytes);
        add!(
            "storage_damaged_files",
            "Live Parquet files left out of answers because they are damaged",
            damaged_files
        );
        add!(
            "storage_lost_segments",
            "Damaged log segments that were set aside in the quarantine folder",
            lost_segments
        );
        add!("storage_expired_files", "Files removed for age or size, by reason", expired_files);
        add!("storage_expired_bytes", "Size of files removed for age or size", expired_bytes);
        add!("storage_budget_bytes", "Bytes that a rule lets be stored, by rule", budget_bytes);
        add!("storage_budget_used_bytes", "Bytes that a rule is about, by rule", budget_used_bytes);
        add!("storage_dry_run_bytes", "Bytes that a dry rule would remove, by rule", dry_run_bytes);
        add!(
            "storage_clock_doubted",
            "1 while nothing is removed for its age because the clock has made a leap",
            clock_doubted
        );
        add!("storage_deletions", "Deletions by selector", deletions);
        add!("storage_deleted_rows", "Rows that deletions took out of all answers", deleted_rows);
        add!("storage_erased_deletions", "Deletions whose bytes are gone", erased_deletions);
        add!("storage_disk_full", "1 while writes are refused because the disk is full", disk_full);
        metrics
    }
}
