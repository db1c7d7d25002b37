//! What decoding one request needs beside its bytes: who sends, when, and what may come in.

use std::borrow::Cow;

use super::decoded::Decoded;
use crate::ingest::limits::{Limits, OutOfBounds, TimeBounds};
use crate::ingest::outcome::{Reason, Refusal};
use crate::ingest::{Ingest, IngestError, Sender, Tagger};

/// Text made of a request, in multiples of the largest body: JSON text is some times longer than
/// the protobuf it is made of, but nothing real reaches this.
const BUILT_RATIO: usize = 4;

/// Samples made of one request, in multiples of its data points: a histogram has a sample a bucket.
const SAMPLES_RATIO: usize = 16;

/// One request's surroundings; decoding reads no clock and no socket.
#[derive(Debug)]
pub(in crate::ingest) struct Context<'a> {
    /// The room.
    pub(in crate::ingest) ingest: &'a Ingest,
    /// Who sends.
    pub(in crate::ingest) sender: Sender<'a>,
    /// When the request came, ns since 1970 UTC.
    pub(in crate::ingest) now_ns: i64,
    bounds: TimeBounds,
}

/// What texts are written by.
#[derive(Debug, Clone, Copy)]
pub(in crate::ingest) struct Rules<'s> {
    /// The limits at the door.
    pub(in crate::ingest) limits: &'s Limits,
    tagger: &'s Tagger,
}

impl Rules<'_> {
    /// Returns true for the name of an attribute that tells a person, which is kept nowhere in metrics.
    pub(in crate::ingest) fn is_personal(&self, name: &str) -> bool {
        self.tagger.is_personal(name)
    }

    /// Returns the text without the secrets that query strings carry.
    pub(in crate::ingest) fn scrub<'t>(&self, text: Cow<'t, str>) -> Cow<'t, str> {
        replace(text, |text| self.tagger.scrub_text(text))
    }

    /// The same for an attribute: some are a query by themselves.
    pub(in crate::ingest) fn scrub_attribute<'t>(
        &self,
        name: &str,
        text: Cow<'t, str>,
    ) -> Cow<'t, str> {
        replace(text, |text| self.tagger.scrub_attribute(name, text))
    }
}

/// A secret is a parameter's value, so a text without `=` has none; most texts cost this glance.
fn replace<'t>(text: Cow<'t, str>, scrub: impl Fn(&str) -> Option<String>) -> Cow<'t, str> {
    let may_have = memchr::memchr2(b'=', b'%', text.as_bytes()).is_some();
    match may_have.then(|| scrub(&text)).flatten() {
        Some(scrubbed) => Cow::Owned(scrubbed),
        None => text,
    }
}

impl<'a> Context<'a> {
    /// Returns the surroundings of a request that comes now.
    pub(in crate::ingest) fn new(ingest: &'a Ingest, sender: Sender<'a>) -> Self {
        let now_ns = ingest.clock.now_ns();
        Self { ingest, sender, now_ns, bounds: ingest.time_bounds() }
    }

    /// Returns what the rows are written by.
    pub(in crate::ingest) fn rules(&self) -> Rules<'_> {
        Rules { limits: &self.ingest.limits, tagger: &self.ingest.tagger }
    }

    /// Returns the times that are taken.
    pub(in crate::ingest) fn bounds(&self) -> TimeBounds {
        self.bounds
    }

    /// Counts one more record, and refuses a request that has too many or grows too much.
    pub(in crate::ingest) fn count_record(&self, decoded: &mut Decoded) -> Result<(), IngestError> {
        decoded.n_received += 1;
        let limits = &self.ingest.limits;
        let max = limits.records_per_request;
        if decoded.n_received > u64::try_from(max).unwrap_or(u64::MAX) {
            return Err(IngestError::TooManyRecords { max });
        }
        if decoded.n_built_bytes > limits.body_decoded.bytes().saturating_mul(BUILT_RATIO) {
            return Err(IngestError::DecodedTooLarge { max: limits.body_decoded });
        }
        Ok(())
    }

    /// Counts one more resource, stream, scope or metric, and refuses a request that has too many: an empty
    /// one has two bytes and is looked up like any other.
    pub(in crate::ingest) fn count_group(&self, decoded: &mut Decoded) -> Result<(), IngestError> {
        decoded.n_groups += 1;
        let max = self.ingest.limits.records_per_request;
        if decoded.n_groups > max { Err(IngestError::TooManyRecords { max }) } else { Ok(()) }
    }

    /// Refuses a request of which more samples are made than anything real has.
    pub(in crate::ingest) fn check_samples(&self, n_samples: usize) -> Result<(), IngestError> {
        let max = self.ingest.limits.records_per_request;
        if n_samples > max.saturating_mul(SAMPLES_RATIO) {
            return Err(IngestError::TooManyRecords { max });
        }
        Ok(())
    }

    /// Refuses a time that is too far ahead or past the retention.
    pub(in crate::ingest) fn check_time(&self, time_ns: i64) -> Result<(), Refusal> {
        let s = |ns: i64| ns / 1_000_000_000;
        self.bounds.check_ns(time_ns).map_err(|out| match out {
            OutOfBounds::Future => Refusal::new(
                Reason::Future,
                format!(
                    "a timestamp is {} s ahead of our clock, at most {} s are taken (limits.future)",
                    s(time_ns.saturating_sub(self.now_ns)),
                    self.ingest.limits.future.0.as_secs()
                ),
            ),
            OutOfBounds::Past => Refusal::new(
                Reason::TooOld,
                format!(
                    "a timestamp is {} s old, older than what is kept (storage.retention)",
                    s(self.now_ns.saturating_sub(time_ns))
                ),
            ),
        })
    }
}
