//! The labels of one line on its way through a pipeline.
//!
//! A line starts with the labels of its stream, which thousands of lines share and which are only
//! borrowed; its own are kept beside them with where they came from: structured metadata, or what
//! a stage extracted. Of one name there is one value: extracted before metadata. What has the name of a
//! label of the stream is kept beside it, as `name_extracted`: else a record could say that it is of
//! another service or commons than its stream.

use std::borrow::Cow;

use crate::model::{Labels, LabelsBuilder};

/// Where a label came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// The record's attributes.
    Metadata,
    /// A stage of the pipeline.
    Parsed,
}

/// A label of one line.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    pub(super) name: Cow<'a, str>,
    pub(super) value: Cow<'a, str>,
    pub(super) source: Source,
    /// An empty value that is shown as well: `logfmt --keep-empty` has found it.
    pub(super) is_kept: bool,
}

/// Why a stage could not do its work; the values of `__error__`.
pub(super) const ERROR: &str = "__error__";
/// What exactly was wrong.
pub(super) const ERROR_DETAILS: &str = "__error_details__";
/// What both begin with.
const ERROR_PREFIX: &str = "__error";

/// The labels of one line.
#[derive(Debug, Clone)]
pub(super) struct Fields<'a> {
    stream: &'a [(String, String)],
    own: Vec<Field<'a>>,
    /// Labels of the stream that this line has no more.
    hidden: Vec<&'a str>,
    keeps_empty: bool,
    error: Option<Cow<'a, str>>,
    details: Option<String>,
}

impl<'a> Fields<'a> {
    /// Returns the labels of a line that has none but its stream's.
    pub(super) fn new(stream: &'a [(String, String)]) -> Self {
        let (own, hidden) = (Vec::new(), Vec::new());
        Self { stream, own, hidden, keeps_empty: false, error: None, details: None }
    }

    /// Returns a label's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        match name {
            ERROR => return self.error.as_deref(),
            ERROR_DETAILS => return self.details.as_deref(),
            _ => {}
        }
        if let Some(field) = self.own.iter().find(|field| field.name == name) {
            return Some(&field.value);
        }
        self.of_stream(name).filter(|_| !self.hidden.contains(&name))
    }

    /// Returns the value that the stream has for a name, whatever the pipeline did to it.
    pub(super) fn of_stream(&self, name: &str) -> Option<&'a str> {
        self.stream.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Sets what a stage found.
    pub(super) fn set(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        match &*name {
            ERROR => {
                self.error = (!value.is_empty()).then_some(value);
                return;
            }
            ERROR_DETAILS => {
                self.details = (!value.is_empty()).then(|| value.into_owned());
                return;
            }
            _ => {}
        }
        let field = Field { name, value, source: Source::Parsed, is_kept: self.keeps_empty };
        match self.own.iter_mut().find(|known| known.name == field.name) {
            Some(known) => *known = field,
            None => self.own.push(field),
        }
    }

    /// Says whether what is set from here on is shown even when it is empty.
    pub(super) fn keep_empty(&mut self, keeps_empty: bool) {
        self.keeps_empty = keeps_empty;
    }

    /// Sets what a parser found: a label of the stream is kept beside it, and of several finds the first
    /// stands, as in Loki.
    pub(super) fn extract(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        let name = self.extracted_name(name);
        let known = self.own.iter().find(|field| field.name == name);
        match known.map(|field| field.source) {
            Some(Source::Parsed) => {}
            // Most are new, and need not be looked for again.
            None if !name.starts_with(ERROR_PREFIX) => {
                let is_kept = self.keeps_empty;
                self.own.push(Field { name, value, source: Source::Parsed, is_kept });
            }
            _ => self.set(name, value),
        }
    }

    /// Sets what a parser was told to find under that name: it takes the place of an earlier find.
    pub(super) fn extract_told(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        let name = self.extracted_name(name);
        self.set(name, value);
    }

    /// Returns the name under which a parser's find of that name is kept, or a record's metadata.
    pub(super) fn extracted_name(&self, name: Cow<'a, str>) -> Cow<'a, str> {
        match self.of_stream(&name) {
            Some(_) => Cow::Owned(format!("{name}_extracted")),
            None => name,
        }
    }

    /// Adds structured metadata, unless a stage has set the name already.
    pub(super) fn add_metadata(&mut self, name: Cow<'a, str>, value: Cow<'a, str>) {
        if !value.is_empty() && !self.own.iter().any(|field| field.name == name) {
            self.own.push(Field { name, value, source: Source::Metadata, is_kept: false });
        }
    }

    /// Removes a label.
    pub(super) fn remove(&mut self, name: &str) {
        match name {
            ERROR => self.error = None,
            ERROR_DETAILS => self.details = None,
            _ => {}
        }
        self.own.retain(|field| field.name != name);
        if let Some((name, _)) = self.stream.iter().find(|(n, _)| n == name)
            && !self.hidden.contains(&name.as_str())
        {
            self.hidden.push(name);
        }
    }

    /// Keeps the labels that `keep` wants.
    pub(super) fn retain(&mut self, keep: impl Fn(&str, &str) -> bool) {
        self.own.retain(|field| keep(&field.name, &field.value));
        for (name, value) in self.stream {
            if !keep(name, value) && !self.hidden.contains(&name.as_str()) {
                self.hidden.push(name);
            }
        }
    }

    /// Notes that a stage failed; the first failure stands.
    pub(super) fn fail(&mut self, error: &'static str, details: impl Into<String>) {
        self.error = Some(Cow::Borrowed(error));
        let details = details.into();
        self.details = (!details.is_empty()).then_some(details);
    }

    /// Returns the `__error__`.
    pub(super) fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Walks the labels that are left of the stream's.
    pub(super) fn stream(&self) -> impl Iterator<Item = (&'a str, &'a str)> + '_ {
        let is_left = |name: &str| {
            !self.hidden.contains(&name) && !self.own.iter().any(|field| field.name == name)
        };
        self.stream
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .filter(move |(name, _)| is_left(name))
    }

    /// Walks the line's own labels of one source, errors among what stages found; of empty ones only
    /// those that are kept.
    pub(super) fn own(&self, source: Source) -> impl Iterator<Item = (&str, &str)> {
        let errors = [(ERROR, self.error.as_deref()), (ERROR_DETAILS, self.details.as_deref())];
        let errors = errors.into_iter().filter(move |_| source == Source::Parsed);
        let own = self.own.iter().filter(move |field| field.source == source);
        own.filter(|field| field.is_kept || !field.value.is_empty())
            .map(|field| (&*field.name, &*field.value))
            .chain(errors.filter_map(|(name, value)| Some((name, value?))))
    }

    /// Returns all labels.
    pub(super) fn labels(&self) -> Labels {
        let mut builder = LabelsBuilder::new();
        for (name, value) in self.all() {
            builder.set(name, value);
        }
        builder.build()
    }

    /// Walks all labels.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str)> {
        self.stream().chain(self.own(Source::Metadata)).chain(self.own(Source::Parsed))
    }
}

/// Returns a name as labels have them: everything but letters, digits and `_` becomes `_`, and no
/// digit comes first.
pub(super) fn sanitized(name: &str) -> Cow<'_, str> {
    let name = name.trim();
    let is_fine = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let begins_with_digit = name.as_bytes().first().is_some_and(u8::is_ascii_digit);
    if !begins_with_digit && name.bytes().all(is_fine) {
        return Cow::Borrowed(name);
    }
    let mut clean = String::with_capacity(name.len() + 1);
    push_sanitized(&mut clean, name);
    Cow::Owned(clean)
}

/// Appends a name as labels have them.
pub(super) fn push_sanitized(out: &mut String, name: &str) {
    if out.is_empty() && name.starts_with(|c: char| c.is_ascii_digit()) {
        out.push('_');
    }
    let is_fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
    out.extend(name.chars().map(|c| if is_fine(c) { c } else { '_' }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stage_finds_stands_beside_what_the_stream_says() {
        let stream = [("app".to_owned(), "fence".to_owned())];
        let mut fields = Fields::new(&stream);

        fields.extract("app".into(), "x".into());
        fields.add_metadata("level".into(), "info".into());
        fields.extract("level".into(), "warn".into());

        assert_eq!(fields.get("app"), Some("fence"));
        assert_eq!(fields.get("app_extracted"), Some("x"));
        assert_eq!(fields.own(Source::Metadata).count(), 0);
        assert_eq!(fields.get("level"), Some("warn"));
    }

    #[test]
    fn a_removed_label_of_the_stream_is_gone_until_it_is_set() {
        let stream = [("app".to_owned(), "fence".to_owned())];
        let mut fields = Fields::new(&stream);

        fields.remove("app");
        assert_eq!((fields.get("app"), fields.labels().len()), (None, 0));

        fields.set("app".into(), "y".into());
        assert_eq!(fields.labels().get("app"), Some("y"));
    }

    #[test]
    fn names_become_names_of_labels() {
        for (name, want) in [("a.b-c", "a_b_c"), ("1a", "_1a"), (" x ", "x"), ("é", "_")] {
            assert_eq!(sanitized(name), want);
        }
    }
}
