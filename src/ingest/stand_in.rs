//! Minimal stand-ins for `tagging` and `derive`, with their doors' signatures, until those rooms
//! land; then this file goes.

use crate::model::{Commons, Grant, LabelsBuilder, Signal, Tags, WriteScope};

/// What tagging decided for one series.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeriesDecision {
    /// Keep it, under these tags.
    Keep(Tags),
    /// Drop it; the name of the rule.
    Drop(&'static str),
}

/// Decides tags from the credential alone.
#[derive(Debug, Clone, Default)]
pub struct Tagger {}

impl Tagger {
    /// Decides the tags of a series and puts them among its labels.
    pub fn tag_series(
        &self,
        grant: &Grant,
        _tenant: Option<&str>,
        labels: &mut LabelsBuilder,
    ) -> SeriesDecision {
        if labels.get("drop_me").is_some() {
            return SeriesDecision::Drop("drop_me");
        }
        let tags = self.tag_resource(grant, None, &|name| labels.get(name).map(str::to_owned));
        if !tags.commons.is_unassigned() {
            labels.set("commons", tags.commons.as_str());
        }
        SeriesDecision::Keep(tags)
    }

    /// Decides the tags of a log stream.
    pub fn tag_stream(
        &self,
        grant: &Grant,
        tenant: Option<&str>,
        labels: &mut LabelsBuilder,
    ) -> Tags {
        self.tag_resource(grant, tenant, &|name| labels.get(name).map(str::to_owned))
    }

    /// Decides the tags of an OTLP resource.
    pub fn tag_resource(
        &self,
        grant: &Grant,
        _tenant: Option<&str>,
        attribute: &dyn Fn(&str) -> Option<String>,
    ) -> Tags {
        let mut tags = Tags::unassigned();
        let named = attribute("commons").and_then(|name| Commons::new(&name).ok());
        match (&grant.write, named) {
            (WriteScope::Commons(commons), _) => tags.commons = commons.clone(),
            (WriteScope::Any | WriteScope::Cluster { .. }, Some(commons)) => tags.commons = commons,
            _ => {}
        }
        tags
    }

    /// Decides once more by what a line says; `None` leaves `stream` as it is.
    pub fn tag_line(&self, _grant: &Grant, _stream: &Tags, _body: &str) -> Option<Tags> {
        None
    }

    /// Like [`Tagger::scrub_text`], for the attribute `name`.
    pub fn scrub_attribute(&self, _name: &str, _value: &str) -> Option<String> {
        None
    }

    /// Returns the text without personal data, or `None` when there is none in it.
    pub fn scrub_text(&self, _text: &str) -> Option<String> {
        None
    }
}

/// Derives nothing.
#[derive(Debug, Clone, Default)]
pub struct Derive {}

impl Derive {
    /// Notes that a signal of a commons was seen.
    pub fn observe_signal(&self, _commons: &Commons, _signal: Signal, _ts_ns: i64) {}

    /// Looks at one log record.
    pub fn observe_log(&self, _tags: &Tags, _app: &str, _ts_ns: i64, _body: &str) {}
}
