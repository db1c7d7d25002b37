//! The instrumentation scope of metrics: part of a series' identity where it becomes labels, and looked at
//! by nobody where it does not.

use xxhash_rust::xxh3::Xxh3;

use crate::ingest::otlp::json_text::JsonText;
use crate::ingest::otlp::resource::label_pair;
use crate::ingest::outcome::{Reason, Refusal};
use crate::ingest::records::{RowError, Rules};
use crate::ingest::wire::Reader;

/// A scope where it lies: its message, and the schema URL of its metrics. Empty where scopes are not
/// promoted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Scope<'a> {
    pub(super) message: &'a [u8],
    pub(super) schema_url: &'a [u8],
}

impl Scope<'_> {
    /// Adds what tells scopes apart to a key; nothing where there is none.
    pub(super) fn hash(&self, hasher: &mut Xxh3) {
        if !self.message.is_empty() || !self.schema_url.is_empty() {
            hasher.update(&[0xfe]);
            hasher.update(&self.message.len().to_le_bytes());
            hasher.update(self.message);
            hasher.update(self.schema_url);
        }
    }

    /// Returns the labels of a scope, by their OpenTelemetry names: its attributes, then what none of
    /// them can take the place of. As in Prometheus, a scope without a name has none.
    pub(super) fn read(&self, rules: &Rules<'_>) -> Result<Vec<(String, String)>, Refusal> {
        let mut pairs = Vec::new();
        let (mut name, mut version) = (String::new(), String::new());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut scratch = JsonText::default();
        let mut reader = Reader::new(self.message);
        let mut read = || -> Result<(), RowError> {
            while let Some(field) = reader.next_field()? {
                match field.number {
                    1 => name = text(field.bytes()?),
                    2 => version = text(field.bytes()?),
                    3 if pairs.len() <= rules.limits.attributes_per_record => {
                        let (key, value) = label_pair(&field, &mut scratch, rules)?;
                        pairs.push((format!("otel_scope_{key}"), value));
                    }
                    _ => {}
                }
            }
            Ok(())
        };
        match read() {
            Ok(()) => {}
            Err(RowError::Refused(refusal)) => return Err(refusal),
            Err(RowError::Wire(error)) => {
                let message = format!("a scope is {error}");
                return Err(Refusal::new(Reason::InvalidLabels, message));
            }
        }
        if name.is_empty() {
            return Ok(Vec::new());
        }
        let own = [("name", name), ("version", version), ("schema_url", text(self.schema_url))];
        pairs.extend(own.map(|(key, value)| (format!("otel_scope_{key}"), value)));
        Ok(pairs)
    }
}
