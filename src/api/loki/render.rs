//! Answers as Loki's JSON.

use std::collections::HashMap;
use std::time::Duration;

use axum::response::Response;

use super::super::json::{push_answer, push_list, success};
use super::super::number::push_sample_value;
use crate::model::json::push_string;
use crate::query::logql::{LogAnswer, LogLine, Pairs, ScanStats};
use crate::query::promql::Answer;

/// Lines under their labels, in the order of the answer.
struct Stream<'a> {
    labels: Vec<(&'a str, &'a str)>,
    lines: Vec<&'a LogLine>,
}

/// Returns an answer of lines.
pub(super) fn lines(
    answer: &LogAnswer,
    is_categorized: bool,
    took_ns: u64,
    warnings: &[String],
) -> Response {
    let n_bytes: usize = answer.lines.iter().map(|line| 160 + line.line.len()).sum();
    success(warnings, &[], n_bytes, |out| {
        out.push_str("{\"resultType\":\"streams\",\"result\":");
        push_streams(out, &answer.lines, is_categorized);
        if is_categorized {
            out.push_str(",\"encodingFlags\":[\"categorize-labels\"]");
        }
        push_stats(out, &answer.stats, answer.lines.len(), took_ns);
        out.push('}');
    })
}

/// Appends lines grouped by their labels: `[{"stream":{…},"values":[["ns","line"]]}]`.
pub(super) fn push_streams(out: &mut String, lines: &[LogLine], is_categorized: bool) {
    let mut streams: Vec<Stream<'_>> = Vec::new();
    let mut places: HashMap<Vec<(&str, &str)>, usize> = HashMap::new();
    for line in lines {
        let labels = labels_of(line, is_categorized);
        let place = *places.entry(labels.clone()).or_insert(streams.len());
        if place == streams.len() {
            streams.push(Stream { labels, lines: Vec::new() });
        }
        streams[place].lines.push(line);
    }
    push_list(out, &streams, |out, stream| {
        out.push_str("{\"stream\":");
        push_object(out, stream.labels.iter().copied());
        out.push_str(",\"values\":");
        push_list(out, &stream.lines, |out, line| push_line(out, line, is_categorized));
        out.push('}');
    });
}

fn labels_of(line: &LogLine, is_categorized: bool) -> Vec<(&str, &str)> {
    fn each(pairs: &Pairs) -> impl Iterator<Item = (&str, &str)> {
        pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
    let mut labels: Vec<_> = each(&line.stream).collect();
    if !is_categorized {
        labels.extend(each(&line.metadata));
        labels.extend(each(&line.parsed));
        labels.sort_unstable();
    }
    labels
}

fn push_line(out: &mut String, line: &LogLine, is_categorized: bool) {
    out.push_str("[\"");
    out.push_str(itoa::Buffer::new().format(line.ts_ns));
    out.push_str("\",");
    push_string(out, &line.line);
    if is_categorized {
        let mut separator = ",{";
        for (name, pairs) in [("structuredMetadata", &line.metadata), ("parsed", &line.parsed)] {
            if pairs.is_empty() {
                continue;
            }
            out.push_str(separator);
            separator = ",";
            out.push_str(&format!("\"{name}\":"));
            push_object(out, pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        }
        out.push_str(if separator == ",{" { ",{}" } else { "}" });
    }
    out.push(']');
}

fn push_object<'a>(out: &mut String, pairs: impl Iterator<Item = (&'a str, &'a str)>) {
    crate::model::json::push_object(out, pairs);
}

/// Returns an answer of numbers.
pub(super) fn numbers(
    answer: &Answer,
    stats: &ScanStats,
    took_ns: u64,
    warnings: &[String],
) -> Response {
    let mut all: Vec<String> = warnings.to_vec();
    all.extend(answer.warnings.iter().filter(|warning| !warnings.contains(warning)).cloned());
    success(&all, &answer.infos, answer.value.likely_bytes(), |out| {
        out.push('{');
        push_answer(out, &answer.value);
        push_stats(out, stats, 0, took_ns);
        out.push('}');
    })
}

/// Appends `,"stats":{…}` in Loki's shape; what has no counterpart here is 0.
fn push_stats(out: &mut String, stats: &ScanStats, n_returned: usize, took_ns: u64) {
    let took_s = Duration::from_nanos(took_ns.max(1)).as_secs_f64();
    let mut took = String::new();
    push_sample_value(&mut took, took_s);
    let ScanStats { n_lines, n_bytes, n_pieces, n_in_memory, n_kept, .. } = *stats;
    let per_second = |n: u64| (n as f64 / took_s).round();
    let mut rates = [String::new(), String::new()];
    push_sample_value(&mut rates[0], per_second(n_bytes));
    push_sample_value(&mut rates[1], per_second(n_lines));
    let n_in_files = n_pieces - n_in_memory;
    out.push_str(&format!(
        ",\"stats\":{{\"summary\":{{\"bytesProcessedPerSecond\":{},\"linesProcessedPerSecond\":{},\
         \"totalBytesProcessed\":{n_bytes},\"totalLinesProcessed\":{n_lines},\"execTime\":{took},\
         \"queueTime\":0,\"subqueries\":0,\"totalEntriesReturned\":{n_returned},\"splits\":0,\
         \"shards\":0,\"totalPostFilterLines\":{n_kept},\
         \"totalStructuredMetadataBytesProcessed\":0}},\
         \"querier\":{{\"store\":{{\"totalChunksRef\":{n_in_files},\
         \"totalChunksDownloaded\":{n_in_files},\"chunksDownloadTime\":0,\
         \"chunk\":{{\"headChunkBytes\":0,\"headChunkLines\":0,\"decompressedBytes\":{n_bytes},\
         \"decompressedLines\":{n_lines},\"compressedBytes\":0,\"totalDuplicates\":0}}}}}},\
         \"ingester\":{{\"totalReached\":1,\"totalChunksMatched\":{n_in_memory},\
         \"totalBatches\":0,\"totalLinesSent\":0,\"store\":{{\"totalChunksRef\":0,\
         \"totalChunksDownloaded\":0,\"chunksDownloadTime\":0,\"chunk\":{{\"headChunkBytes\":0,\
         \"headChunkLines\":0,\"decompressedBytes\":0,\"decompressedLines\":0,\
         \"compressedBytes\":0,\"totalDuplicates\":0}}}}}},\"cache\":{{}}}}",
        rates[0], rates[1],
    ));
}
