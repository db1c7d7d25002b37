//! What Loki's two encodings have in common: streams of entries become log records.
//!
//! A stream's labels are the records' `resource`, structured metadata their `attributes`. Two
//! things hide among either: `level` (or `detected_level`) is the severity, `trace_id` and
//! `span_id` fill their columns; they stay where they came as well.

use std::borrow::Cow;
use std::sync::Arc;

use crate::ingest::IngestError;
use crate::ingest::limits::OutOfBounds;
use crate::ingest::outcome::{Reason, Refusal};
use crate::ingest::records::{Batches, Context, Decoded, OpenRecord, Origin, Retagged};
use crate::model::{LabelsBuilder, LogRow, LogsBuilder, Tags, json};

/// Characters of a stream's labels that a message shows.
const STREAM_TEXT_MAX: usize = 200;

/// Collects the entries of one push.
pub(super) struct Collect<'c> {
    ctx: &'c Context<'c>,
    batches: Batches<LogsBuilder>,
    decoded: Decoded,
    attributes: String,
    retagged: Retagged,
    /// The last record of the stream under way, while more lines may belong to it.
    open: Option<OpenRecord>,
}

/// A stream that is decided.
pub(super) struct Stream {
    /// The labels as the sender wrote them, for messages.
    text: String,
    labels: Vec<(String, String)>,
    resource: String,
    decision: Result<Arc<Origin>, Refusal>,
}

/// One entry, borrowed from the request.
pub(super) struct Entry<'a> {
    /// ns since 1970 UTC.
    pub(super) time_ns: i64,
    /// The line.
    pub(super) line: Cow<'a, str>,
    /// Structured metadata, in the order sent.
    pub(super) metadata: &'a [(Cow<'a, str>, Cow<'a, str>)],
}

impl<'c> Collect<'c> {
    /// Returns a collection without entries.
    pub(super) fn new(ctx: &'c Context<'c>) -> Self {
        Self {
            ctx,
            batches: Batches::of_body(0),
            decoded: Decoded::default(),
            attributes: String::new(),
            retagged: Retagged::default(),
            open: None,
        }
    }

    /// Returns how many labels a stream may have.
    pub(super) fn labels_max(&self) -> usize {
        self.ctx.ingest.limits.labels_per_series
    }

    /// Returns how many pairs of structured metadata an entry may have.
    pub(super) fn metadata_max(&self) -> usize {
        self.ctx.ingest.limits.attributes_per_record
    }

    /// Decides where the entries of a stream belong; `text` is how messages call it.
    pub(super) fn stream(
        &mut self,
        text: &str,
        labels: Vec<(String, String)>,
    ) -> Result<Stream, IngestError> {
        self.ctx.count_group(&mut self.decoded)?;
        // Each refused entry repeats it.
        let text = cut(text);
        let limits = &self.ctx.ingest.limits;
        if labels.is_empty() {
            let text = "error at least one label pair is required per stream";
            return Err(IngestError::Invalid(text.to_owned()));
        }
        if labels.len() > limits.labels_per_series {
            return Err(IngestError::Invalid(format!(
                "entry for stream '{text}' has more than {} label names (limits.labels_per_series)",
                limits.labels_per_series
            )));
        }
        for (name, value) in &labels {
            check_label(&text, name, value, limits)?;
        }
        let mut builder = LabelsBuilder::new();
        for (name, value) in &labels {
            builder.set(name, value);
        }
        let sender = self.ctx.sender;
        let tags = self.ctx.ingest.tagger.tag_stream(sender.grant, sender.tenant, &mut builder);
        let find = |name| labels.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
        let app = ["app", "service_name", "service", "job", "container"].into_iter().find_map(find);
        let app = app.unwrap_or("").to_owned();
        strip_tags(&mut builder, &tags);
        let decision = self
            .ctx
            .ingest
            .may_store(sender.grant, &tags.commons)
            .map(|()| Arc::new(Origin { tags, app }));
        let resource = json::object(builder.build().iter());
        Ok(Stream { text, labels, resource, decision })
    }

    /// Adds an entry of a stream, or counts why not.
    pub(super) fn entry(&mut self, stream: &Stream, entry: &Entry<'_>) -> Result<(), IngestError> {
        self.ctx.count_record(&mut self.decoded)?;
        let decided = stream.decision.as_ref().map(|_| ()).map_err(Clone::clone);
        if let Err(refusal) = decided.and_then(|()| self.check(stream, entry)) {
            self.decoded.rejected.add_refusal(refusal, 1);
            return Ok(());
        }
        let Entry { time_ns, line, metadata } = entry;
        let bytes_max = self.ctx.ingest.limits.log_line.bytes();
        if let Some(open) = &mut self.open
            && open.take(*time_ns, line, metadata, bytes_max)
        {
            return Ok(());
        }
        self.end_record(stream);
        self.open = OpenRecord::of(*time_ns, line, metadata);
        if self.open.is_none() {
            self.note(stream, entry, 1);
        }
        Ok(())
    }

    /// Ends a stream: what comes behind it belongs to no record of it.
    pub(super) fn end_stream(&mut self, stream: &Stream) {
        self.end_record(stream);
    }

    fn end_record(&mut self, stream: &Stream) {
        let Some(OpenRecord { time_ns, text, metadata, n_lines, .. }) = self.open.take() else {
            return;
        };
        let entry = Entry { time_ns, line: Cow::Owned(text), metadata: &metadata };
        self.note(stream, &entry, n_lines);
    }

    /// Writes a record of so many lines, or counts why not.
    fn note(&mut self, stream: &Stream, entry: &Entry<'_>, n_lines: u64) {
        if let Err(refusal) = self.write(stream, entry) {
            self.decoded.rejected.add_refusal(refusal, n_lines);
        }
    }

    fn write(&mut self, stream: &Stream, entry: &Entry<'_>) -> Result<(), Refusal> {
        let origin = stream.decision.as_ref().map_err(Clone::clone)?;
        self.write_attributes(entry.metadata)?;
        let in_metadata = |name: &str| {
            entry.metadata.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_ref())
        };
        let in_labels = |name: &str| {
            stream.labels.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
        };
        let find = |name| in_metadata(name).or_else(|| in_labels(name));
        let level = find("level").or_else(|| find("detected_level")).unwrap_or("");
        let trace_id = hex_id(find("trace_id").or_else(|| find("traceID")), 32);
        let span_id = hex_id(find("span_id").or_else(|| find("spanID")), 16);
        let line = self.ctx.rules().scrub(Cow::Borrowed(&*entry.line));
        let origin = self.retagged.origin(self.ctx, origin, &line)?;
        let read = origin.read_line(&self.ctx.ingest.derive, &line);
        let row = LogRow {
            timestamp_ns: entry.time_ns,
            observed_ns: self.ctx.now_ns,
            severity_number: severity_number(level),
            severity_text: level,
            body: &line,
            attributes: &self.attributes,
            resource: &stream.resource,
            trace_id: &trace_id,
            span_id: &span_id,
            line: read.fields(&line),
            ..LogRow::default()
        };
        self.decoded.n_built_bytes += row.body.len() + row.attributes.len();
        self.batches.of(&origin).push(&origin.tags, &row);
        self.batches.keep(read);
        Ok(())
    }

    /// Checks what Loki checks, in Loki's words: people search for them.
    fn check(&self, stream: &Stream, entry: &Entry<'_>) -> Result<(), Refusal> {
        let max = self.ctx.ingest.limits.log_line.bytes();
        let (n_bytes, text) = (entry.line.len(), &stream.text);
        if n_bytes > max {
            let message = format!(
                "Max entry size '{max}' bytes exceeded for stream '{text}' while adding an entry \
                 with length '{n_bytes}' bytes (limits.log_line)"
            );
            return Err(Refusal::new(Reason::LineLimit, message));
        }
        self.ctx.bounds().check_ns(entry.time_ns).map_err(|side| {
            let time = rfc3339(entry.time_ns);
            match side {
                OutOfBounds::Future => Refusal::new(
                    Reason::Future,
                    format!("entry for stream '{text}' has timestamp too new: {time}"),
                ),
                OutOfBounds::Past => Refusal::new(
                    Reason::TooOld,
                    format!(
                        "entry for stream '{text}' has timestamp too old: {time}, oldest \
                         acceptable timestamp is: {}",
                        rfc3339(self.ctx.bounds().min_ns)
                    ),
                ),
            }
        })
    }

    fn write_attributes(
        &mut self,
        metadata: &[(Cow<'_, str>, Cow<'_, str>)],
    ) -> Result<(), Refusal> {
        let limits = &self.ctx.ingest.limits;
        if metadata.len() > limits.attributes_per_record {
            let message = format!(
                "an entry has more than {} pairs of structured metadata \
                 (limits.attributes_per_record)",
                limits.attributes_per_record
            );
            return Err(Refusal::new(Reason::AttributeLimit, message));
        }
        self.attributes.clear();
        let mut separator = '{';
        for (idx, (name, value)) in metadata.iter().enumerate() {
            if value.len() > limits.attribute_value.bytes() {
                let message = format!(
                    "structured metadata `{name}` has {} bytes of at most {} \
                     (limits.attribute_value)",
                    value.len(),
                    limits.attribute_value
                );
                return Err(Refusal::new(Reason::AttributeLimit, message));
            }
            // Of one name twice, the first stands, as in OTLP.
            if metadata[..idx].iter().any(|(earlier, _)| earlier == name) {
                continue;
            }
            self.attributes.push(std::mem::replace(&mut separator, ','));
            json::push_string(&mut self.attributes, name);
            self.attributes.push(':');
            let value = self.ctx.rules().scrub(Cow::Borrowed(&**value));
            json::push_string(&mut self.attributes, &value);
        }
        self.attributes.push_str(if separator == '{' { "{}" } else { "}" });
        Ok(())
    }

    /// Returns all that was collected.
    pub(super) fn finish(mut self) -> Decoded {
        debug_assert!(self.open.is_none(), "every stream was ended");
        self.batches.into_logs(&mut self.decoded);
        self.decoded
    }
}

/// Returns the front of a stream's labels, for messages.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(STREAM_TEXT_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Removes the labels that are columns of their own: a line may yet be decided to belong elsewhere,
/// and a row must not say two things about that.
fn strip_tags(labels: &mut LabelsBuilder, tags: &Tags) {
    for (name, value) in [
        ("commons", Some(tags.commons.as_str())),
        ("service", tags.service.as_deref()),
        ("env", tags.env.as_deref()),
        ("cluster", tags.cluster.as_deref()),
    ] {
        if labels.get(name) == value {
            labels.remove(name);
        }
    }
}

fn check_label(
    stream: &str,
    name: &str,
    value: &str,
    limits: &crate::ingest::Limits,
) -> Result<(), IngestError> {
    for (what, text, max) in
        [("name", name, limits.label_name), ("value", value, limits.label_value)]
    {
        if text.len() > max.bytes() {
            return Err(IngestError::Invalid(format!(
                "stream '{stream}' has label {what} too long: {} bytes of at most {max} \
                 (limits.label_{what})",
                text.len()
            )));
        }
    }
    Ok(())
}

/// Returns a W3C id as lower-case hex, or nothing when the text is not one.
fn hex_id(text: Option<&str>, n_digits: usize) -> String {
    text.filter(|text| text.len() == n_digits)
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .filter(|text| text.bytes().any(|byte| byte != b'0'))
        .map(str::to_ascii_lowercase)
        .unwrap_or_default()
}

/// Returns OTLP's number for a level as loggers write it; 0 when it is not known.
fn severity_number(level: &str) -> i32 {
    let is = |names: &[&str]| names.iter().any(|name| level.eq_ignore_ascii_case(name));
    match level {
        _ if is(&["trace", "trc"]) => 1,
        _ if is(&["debug", "dbg"]) => 5,
        _ if is(&["info", "information", "inf", "notice"]) => 9,
        _ if is(&["warn", "warning", "wrn"]) => 13,
        _ if is(&["error", "err", "eror"]) => 17,
        _ if is(&["fatal", "critical", "crit", "panic", "emerg", "alert"]) => 21,
        _ => 0,
    }
}

/// Writes a time for a person.
fn rfc3339(time_ns: i64) -> String {
    chrono::DateTime::from_timestamp_nanos(time_ns).to_rfc3339()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_have_numbers() {
        for (level, want) in
            [("INFO", 9), ("warning", 13), ("Error", 17), ("critical", 21), ("", 0), ("blue", 0)]
        {
            assert_eq!(severity_number(level), want, "{level}");
        }
    }

    #[test]
    fn only_w3c_ids_are_ids() {
        let id = "0AF7651916CD43DD8448EB211C80319C";
        assert_eq!(hex_id(Some(id), 32), id.to_ascii_lowercase());
        for bad in ["", "0af7", "zaf7651916cd43dd8448eb211c80319c", &"0".repeat(32)] {
            assert_eq!(hex_id(Some(bad), 32), "", "{bad}");
        }
    }
}
