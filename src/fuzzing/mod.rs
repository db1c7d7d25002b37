//! The doors through which `fuzz/` reaches every decoder and parser; no build for use has them.
//!
//! A target is a function of bytes that panics when a promise is broken: beside "no input ends the
//! process" each says what must hold of the outcome (what the protobuf library reads is read, what
//! is printed can be read again, a secret does not survive …). The bodies stand in the rooms, next
//! to what they know; this is only their list. `make fuzz` feeds them what libFuzzer invents, and
//! the tests here feed them the corpus in `fuzz/corpus`, with mutations of it.
//!
//! When you add a target, also add `fuzz/fuzz_targets/<name>.rs`, its `[[bin]]` and its corpus.

mod amplify;
#[cfg(test)]
mod mutate;
#[cfg(test)]
mod tests;

pub use crate::api::fuzzing::{
    am_bodies, api_numbers, api_params, remote_read, tail_frames, tempo_calls,
};
pub use crate::auth::fuzzing::auth_header;
pub use crate::config::fuzzing::config_parse;
pub use crate::derive::fuzzing::{derive_lines, line_read};
pub use crate::ingest::fuzzing::{
    json_records, loki_json, loki_labels, loki_pb, otlp_grpc, otlp_logs_json, otlp_logs_pb,
    otlp_metrics_json, otlp_metrics_pb, otlp_traces_json, otlp_traces_pb, rw1_snappy, rw1_walk,
    rw2_walk, zstd_gzip_limit,
};
pub use crate::inventory::fuzzing::inventory_state;
pub use crate::model::regexp::fuzzing::regexp;
pub use crate::notify::fuzzing::{
    alerting_file, am_matchers, mail_dialog, notify_state, notify_text, webhook_url,
};
pub use crate::query::fuzzing::{
    logql_parse, logql_pipeline, logql_template, promql_eval, promql_notation, promql_parse,
    sql_gate, sql_json_get, sql_tokens, traceql, worker_frames,
};
pub use crate::rules::fuzzing::{rule_file, rule_template, rule_test_file, rules_state};
pub use crate::storage::fuzzing::{
    backup_listing, deletion_rows, descriptions_file, grams_section, head_chunk, labels_packed,
    manifest_decode, objects_ledger, parquet_open, totals_file, wal_decode, wal_payload,
    wal_replay, wal_roundtrip,
};
pub use crate::tagging::fuzzing::{scrub, tagging, tagging_files};
pub use amplify::amplify;

/// A target by its name, which is that of its file and of its corpus.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name.
    pub name: &'static str,
    /// Feeds it.
    pub run: fn(&[u8]),
}

macro_rules! targets {
    ($($name:ident)*) => {
        /// Every target.
        pub const TARGETS: &[Target] =
            &[$(Target { name: stringify!($name), run: $name }),*];

        #[cfg(test)]
        mod of_corpus {
            //! One test a target, so that they run side by side.
            $(#[test] fn $name() { super::tests::check(stringify!($name), super::$name); })*
        }
    };
}

targets! {
    rw1_snappy rw1_walk rw2_walk zstd_gzip_limit json_records
    otlp_metrics_pb otlp_logs_pb otlp_traces_pb
    otlp_metrics_json otlp_logs_json otlp_traces_json otlp_grpc
    loki_pb loki_json loki_labels amplify
    promql_parse promql_eval promql_notation
    logql_parse logql_pipeline logql_template regexp
    sql_tokens sql_gate sql_json_get traceql worker_frames
    wal_decode wal_payload wal_roundtrip wal_replay
    head_chunk labels_packed manifest_decode parquet_open grams_section backup_listing deletion_rows
    totals_file objects_ledger descriptions_file rules_state inventory_state notify_state
    scrub tagging tagging_files derive_lines line_read
    rule_file rule_template rule_test_file
    config_parse auth_header webhook_url api_params api_numbers remote_read
    alerting_file am_matchers am_bodies notify_text mail_dialog tempo_calls tail_frames
}
