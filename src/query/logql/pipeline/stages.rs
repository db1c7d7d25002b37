//! The stages as they run.

use std::borrow::Cow;
use std::cell::RefCell;
use std::sync::LazyLock;

use parking_lot::Mutex;
use regex::Regex;

use super::super::fields::{Fields, sanitized};
use super::super::syntax::ast::NameOrMatcher;
use super::super::template::{Scope, Template};
use super::json::{Flow, JsonError, Key, Value, at_path, label_of, leaves, members, top_leaves};
use super::line_filter::LineFilter;
use super::parsers::{Logfmt, Paths, RegexpParser};
use super::pattern::Pattern;
use super::{Entry, Pipeline, Wanted, label_filter, logfmt};

/// A stage.
#[derive(Debug)]
pub(super) enum Compiled {
    Line(LineFilter),
    Json(KnownKeys),
    JsonPaths(Paths),
    Logfmt(Logfmt),
    Regexp(RegexpParser),
    Pattern(Pattern),
    Unpack,
    Filter(label_filter::Compiled),
    LineFormat(Template),
    /// (target, the label that is renamed or the template)
    LabelFormat(Vec<(String, Result<String, Template>)>),
    Drop(Vec<NameOrMatcher>),
    Keep(Vec<NameOrMatcher>),
    Decolorize,
}

const JSON_PARSER: &str = "JSONParserErr";
const LOGFMT_PARSER: &str = "LogfmtParserErr";
const TEMPLATE_FORMAT: &str = "TemplateFormatErr";

/// Returns true for the `__error__` of a line that a parser could not read.
pub(super) fn is_of_parser(error: &str) -> bool {
    matches!(error, JSON_PARSER | LOGFMT_PARSER)
}

/// What terminals take as colours and movements.
static ANSI: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        "[\u{1b}\u{9b}][\\[\\]()#;?]*(?:(?:(?:[a-zA-Z\\d]*(?:;[a-zA-Z\\d]*)*)?\u{7})|(?:(?:\\d{1,4}(?:;\\d{0,4})*)?[\\dA-PRZcf-ntqry=><~]))",
    )
    .expect("the expression is right")
});

impl Compiled {
    pub(super) fn is_line_filter(&self) -> bool {
        matches!(self, Compiled::Line(_))
    }

    pub(super) fn into_line_filter(self) -> Option<LineFilter> {
        match self {
            Compiled::Line(filter) => Some(filter),
            _ => None,
        }
    }

    pub(super) fn is_parser(&self) -> bool {
        matches!(
            self,
            Compiled::Json(_)
                | Compiled::JsonPaths(_)
                | Compiled::Logfmt(_)
                | Compiled::Regexp(_)
                | Compiled::Pattern(_)
        )
    }

    /// Returns true when the stage looks at the line, or at the time, which a template may.
    pub(super) fn reads_line(&self) -> bool {
        match self {
            Compiled::Filter(_) | Compiled::Drop(_) | Compiled::Keep(_) => false,
            Compiled::LabelFormat(formats) => formats.iter().any(|(_, source)| source.is_err()),
            _ => true,
        }
    }

    /// Returns true when the stage takes no line out.
    pub(super) fn keeps_all(&self) -> bool {
        !matches!(self, Compiled::Line(_) | Compiled::Filter(_))
    }

    /// Runs the stage; returns false when the line is filtered out.
    pub(super) fn run(&self, entry: &mut Entry<'_>, pipeline: &Pipeline) -> bool {
        let wanted = &pipeline.wanted;
        match self {
            Compiled::Line(filter) => return filter.keeps(&entry.line),
            Compiled::Filter(filter) => return filter.keeps(entry),
            Compiled::Json(keys) => {
                let left = Left::of(wanted, &entry.fields);
                on_line(entry, Fields::extract, |line, sink| match wanted {
                    Wanted::Named(_) => json_named(line, wanted, left, keys, sink),
                    // Of a pipeline that wants nothing the parsers are left out.
                    Wanted::All | Wanted::Nothing => json(line, sink),
                });
            }
            Compiled::JsonPaths(paths) => {
                on_line(entry, Fields::extract_told, |line, sink| json_paths(line, paths, sink));
                if begins_json(&entry.line) {
                    add_missing(&mut entry.fields, paths);
                }
            }
            Compiled::Logfmt(how) => {
                let is_told = !how.named.is_empty();
                let set: Set<'_> = if is_told { Fields::extract_told } else { Fields::extract };
                empty_told(&mut entry.fields, &how.named);
                entry.fields.keep_empty(how.keeps_empty);
                on_line(entry, set, |line, sink| logfmt_pairs(line, how, wanted, sink));
                entry.fields.keep_empty(false);
            }
            Compiled::Regexp(parser) => on_line(entry, Fields::extract, |line, sink| {
                let Some(captures) = parser.regex.captures(line) else { return Ok(()) };
                for (idx, name) in &parser.names {
                    let text = captures.get(*idx).map_or("", |found| found.as_str());
                    sink(Cow::Owned(name.clone()), Cow::Borrowed(text));
                }
                Ok(())
            }),
            Compiled::Pattern(pattern) => on_line(entry, Fields::extract, |line, sink| {
                pattern.captures(line, |name, text| {
                    sink(Cow::Owned(name.to_owned()), Cow::Borrowed(text));
                });
                Ok(())
            }),
            Compiled::Unpack => unpack(entry),
            Compiled::LineFormat(template) => line_format(entry, template, pipeline.now_ns),
            Compiled::LabelFormat(formats) => label_format(entry, formats, pipeline.now_ns),
            Compiled::Drop(named) => drop_labels(&mut entry.fields, named),
            Compiled::Keep(named) => keep_labels(&mut entry.fields, named),
            Compiled::Decolorize => {
                if let Cow::Owned(plain) = ANSI.replace_all(&entry.line, "") {
                    entry.line = Cow::Owned(plain);
                }
            }
        }
        true
    }
}

/// Why a parser stopped: the `__error__` and its details.
type Fault = (&'static str, String);
/// Takes what a parser finds.
type Sink<'s, 'l> = dyn FnMut(Cow<'l, str>, Cow<'l, str>) + 's;

/// How a find becomes a label.
type Set<'a> = fn(&mut Fields<'a>, Cow<'a, str>, Cow<'a, str>);

/// Runs a parser over the line. What it finds is borrowed from the line where that lives on, and
/// copied where a stage has made it.
fn on_line<'a>(
    entry: &mut Entry<'a>,
    set: Set<'a>,
    parse: impl for<'l, 's> Fn(&'l str, &mut Sink<'s, 'l>) -> Result<(), Fault>,
) {
    let Entry { line, fields, .. } = entry;
    let parsed = match line {
        Cow::Borrowed(line) => parse(line, &mut |name, value| set(fields, name, value)),
        Cow::Owned(line) => parse(line, &mut |name, value| {
            set(fields, Cow::Owned(name.into_owned()), Cow::Owned(value.into_owned()));
        }),
    };
    if let Err((error, details)) = parsed {
        fields.fail(error, details);
    }
}

/// Which of the wanted labels may still be found in a line, a bit each.
#[derive(Debug, Clone, Copy)]
struct Left(u64);

impl Left {
    fn of(wanted: &Wanted, fields: &Fields<'_>) -> Self {
        let Wanted::Named(names) = wanted else { return Self(u64::MAX) };
        if names.len() >= 64 {
            return Self(u64::MAX);
        }
        // What a parser finds under the name of a label of the stream is kept under another one.
        let may_come =
            |name: &str| name.ends_with("_extracted") || fields.of_stream(name).is_none();
        let names = names.iter().enumerate().filter(|(_, name)| may_come(name));
        Self(names.fold(0, |left, (idx, _)| left | 1 << idx))
    }

    /// Notes a find; returns false when nobody wants it.
    fn take(&mut self, wanted: &Wanted, found: &str) -> bool {
        let Wanted::Named(names) = wanted else { return *wanted == Wanted::All };
        let mut is_wanted = false;
        for (idx, _) in names.iter().enumerate().filter(|(_, name)| is_name_of(name, found)) {
            is_wanted = true;
            self.0 &= !(1_u64.checked_shl(u32::try_from(idx).unwrap_or(64)).unwrap_or(0));
        }
        is_wanted
    }
}

/// The keys that lines had, by their places: lines of one program mostly have the same keys in the same
/// order, so that what to do with each is found out once.
#[derive(Debug, Default)]
pub(super) struct KnownKeys(Mutex<Vec<KnownKey>>);

#[derive(Debug)]
struct KnownKey {
    raw: String,
    is_wanted: bool,
}

/// Keys that are remembered.
const KNOWN_KEYS_MAX: usize = 256;

impl KnownKey {
    fn of(wanted: &Wanted, key: Key<'_>) -> Self {
        let Wanted::Named(names) = wanted else { unreachable!("only names are looked for") };
        let name = label_of(key);
        let is_wanted = !name.is_empty() && names.iter().any(|wanted| is_name_of(wanted, &name));
        Self { raw: key.raw.to_owned(), is_wanted }
    }
}

/// Looks for some labels.
fn json_named<'l>(
    line: &'l str,
    wanted: &Wanted,
    left: Left,
    keys: &KnownKeys,
    sink: &mut Sink<'_, 'l>,
) -> Result<(), Fault> {
    // Pipelines run on one thread each, so nobody waits here.
    let known = &mut *keys.0.lock();
    let mut place = 0;
    let found = RefCell::new((left, sink));
    let take = |name: Cow<'l, str>, value: Value<'l>| {
        let (left, sink) = &mut *found.borrow_mut();
        if name.is_empty() || !left.take(wanted, &name) {
            return Flow::On;
        }
        sink(name, clean(value.into_label()));
        // Once each has been found nobody looks at the rest, nor at what may be wrong with it.
        if left.0 == 0 { Flow::Stop } else { Flow::On }
    };
    let mut each = |key: Key<'l>, value: Value<'l>| {
        let is_wanted = match known.get(place) {
            Some(last) if last.raw == key.raw => last.is_wanted,
            _ => {
                let key = KnownKey::of(wanted, key);
                let is_wanted = key.is_wanted;
                if let Some(last) = known.get_mut(place) {
                    *last = key;
                } else if known.len() < KNOWN_KEYS_MAX {
                    known.push(key);
                }
                is_wanted
            }
        };
        place += 1;
        if is_wanted { take(label_of(key), value) } else { Flow::On }
    };
    let ended = top_leaves(line, &mut each, &mut |name, value| take(name, value));
    ended.map(drop).map_err(|error| (JSON_PARSER, error.as_str().to_owned()))
}

/// Looks for all there are.
fn json<'l>(line: &'l str, sink: &mut Sink<'_, 'l>) -> Result<(), Fault> {
    let ended = leaves(line, &mut |name, value| {
        if !name.is_empty() {
            sink(name, clean(value.into_label()));
        }
        Flow::On
    });
    ended.map(drop).map_err(|error| (JSON_PARSER, error.as_str().to_owned()))
}

/// Returns true when a find may be kept under a name; what the stream has already gets another one.
pub(super) fn is_name_of(wanted: &str, found: &str) -> bool {
    wanted == found || wanted.strip_suffix("_extracted") == Some(found)
}

/// Prometheus refuses the replacement character in labels, and so does Loki.
fn clean(value: Cow<'_, str>) -> Cow<'_, str> {
    match value.contains(char::REPLACEMENT_CHARACTER) {
        true => Cow::Owned(value.replace(char::REPLACEMENT_CHARACTER, " ")),
        false => value,
    }
}

fn json_paths<'l>(line: &'l str, paths: &Paths, sink: &mut Sink<'_, 'l>) -> Result<(), Fault> {
    if line.is_empty() {
        return Ok(());
    }
    if !begins_json(line) {
        return Err((JSON_PARSER, String::new()));
    }
    for (name, path) in &paths.0 {
        if let Some(found) = at_path(line, path) {
            sink(Cow::Owned(name.clone()), clean(found.into_label()));
        }
    }
    Ok(())
}

fn begins_json(line: &str) -> bool {
    line.trim_start().starts_with(['{', '[', '"'])
}

/// A path that leads nowhere leaves the label that there is of that name, and else an empty one.
fn add_missing(fields: &mut Fields<'_>, paths: &Paths) {
    for (name, _) in &paths.0 {
        if fields.get(name).is_none() {
            fields.set(Cow::Owned(name.clone()), Cow::Borrowed(""));
        }
    }
}

/// What `logfmt` is told to find is empty until it is found, whatever had the name before; only what the
/// stream says stands.
fn empty_told(fields: &mut Fields<'_>, named: &[(String, String)]) {
    for (name, _) in named {
        if fields.of_stream(name).is_none() {
            fields.set(Cow::Owned(name.clone()), Cow::Borrowed(""));
        }
    }
}

fn logfmt_pairs<'l>(
    line: &'l str,
    how: &Logfmt,
    wanted: &Wanted,
    sink: &mut Sink<'_, 'l>,
) -> Result<(), Fault> {
    for pair in logfmt::pairs(line) {
        let (key, value) = match pair {
            Ok(pair) => pair,
            Err(details) if how.is_strict => return Err((LOGFMT_PARSER, details)),
            Err(_) => continue,
        };
        if value.is_empty() && !how.keeps_empty {
            continue;
        }
        if how.named.is_empty() {
            let name = sanitized(key);
            if !name.is_empty() && wanted.has_extracted(&name) {
                sink(name, clean(value));
            }
            continue;
        }
        for (name, _) in how.named.iter().filter(|(_, wanted)| wanted == key) {
            sink(Cow::Owned(name.clone()), clean(value.clone()));
        }
    }
    Ok(())
}

/// `| unpack`: every text of the object is a label, and `_entry` is the line.
fn unpack(entry: &mut Entry<'_>) {
    if entry.line.is_empty() {
        return;
    }
    let line = entry.line.clone();
    let mut found: Vec<(String, String)> = Vec::new();
    let mut packed: Option<String> = None;
    let ended = members(&line, &mut |key, value| {
        match value {
            Value::Text(_) if key == "_entry" => packed = Some(value.into_label().into_owned()),
            Value::Text(_) => {
                found.push((sanitized(&key).into_owned(), clean(value.into_label()).into_owned()));
            }
            _ => {}
        }
        Ok(Flow::On)
    });
    if let Err(error) = ended {
        let details = match error {
            JsonError::NoObject => "expecting json object(6), but it is not",
            other => other.as_str(),
        };
        entry.fields.fail(JSON_PARSER, details);
        return;
    }
    // Only what `pack` has packed is unpacked into labels.
    let Some(packed) = packed else { return };
    for (name, value) in found {
        entry.fields.extract(Cow::Owned(name), Cow::Owned(value));
    }
    entry.line = Cow::Owned(packed);
}

fn line_format(entry: &mut Entry<'_>, template: &Template, now_ns: i64) {
    let Entry { ts_ns, line, fields, .. } = entry;
    let made = template.render(&Scope { fields, line, ts_ns: *ts_ns, now_ns });
    match made {
        Ok(made) => *line = Cow::Owned(made),
        Err(details) => fields.fail(TEMPLATE_FORMAT, details),
    }
}

fn label_format(
    entry: &mut Entry<'_>,
    formats: &[(String, Result<String, Template>)],
    now_ns: i64,
) {
    let Entry { ts_ns, line, fields, .. } = entry;
    // Every template sees the labels as they were before the first of them, but behind renames.
    let mut before: Option<Fields<'_>> = None;
    for (target, source) in formats {
        match source {
            Ok(source) => {
                let Some(value) = fields.get(source).map(str::to_owned) else { continue };
                fields.set(Cow::Owned(target.clone()), Cow::Owned(value));
                if target != source {
                    fields.remove(source);
                }
            }
            Err(template) => {
                let seen = before.get_or_insert_with(|| fields.clone());
                match template.render(&Scope { fields: seen, line, ts_ns: *ts_ns, now_ns }) {
                    Ok(value) => fields.set(Cow::Owned(target.clone()), Cow::Owned(value)),
                    Err(details) => fields.fail(TEMPLATE_FORMAT, details),
                }
            }
        }
    }
}

fn drop_labels(fields: &mut Fields<'_>, named: &[NameOrMatcher]) {
    for one in named {
        match one {
            NameOrMatcher::Name(name) => fields.remove(name),
            NameOrMatcher::Matcher(matcher) => {
                let value = fields.get(&matcher.name);
                if value.is_some_and(|value| matcher.matches(value)) {
                    fields.remove(&matcher.name);
                }
            }
        }
    }
}

fn keep_labels(fields: &mut Fields<'_>, named: &[NameOrMatcher]) {
    fields.retain(|name, value| {
        named.iter().any(|one| match one {
            NameOrMatcher::Name(wanted) => wanted == name,
            NameOrMatcher::Matcher(matcher) => matcher.name == name && matcher.matches(value),
        })
    });
}

#[cfg(test)]
mod tests {
    use super::super::Metadata;
    use super::*;
    use crate::query::logql::{ParseLimits, parse_log};

    fn found(wanted: &Wanted, lines: &[&str]) -> Vec<Vec<Option<String>>> {
        let log = parse_log("{app=\"a\"} | json", &ParseLimits::default()).unwrap();
        let pipeline = Pipeline::new(&log, wanted.clone(), 0).unwrap();
        let stream = [("app".to_owned(), "a".to_owned())];
        let of_line = |line: &&str| {
            let mut entry = Entry::new(0, line, &stream);
            assert!(pipeline.run(&mut entry, &Metadata::default()), "{line}");
            NAMES.iter().map(|name| entry.fields.get(name).map(str::to_owned)).collect()
        };
        lines.iter().map(of_line).collect()
    }

    const NAMES: [&str; 5] = ["status", "a_b", "_1x", "app", "app_extracted"];

    #[test]
    fn some_labels_are_found_as_all_are_whatever_the_order_of_the_keys() {
        let lines = [
            r#"{"x": 1, "status": 200, "a": {"b": "y"}, "1x": true, "app": "b"}"#,
            r#"{"x": 1, "status": 404, "a": {"b": "z", "c": {"d": 1}}, "1x": null, "app": "c"}"#,
            r#"{"status": 500, "x": 1, "1x": 7, "a.b": "dots"}"#,
            r#"{"st\u0061tus": "escaped", "x": "\x22", "a-b": [1], "a": {"b": 2}}"#,
            r#"{"x": 1, "status": 200, "a": {"b": "y"}, "1x": true, "app": "b"}"#,
            r#"{}"#,
            r#"{"": 1, "x": {"status": 1}, "status": "last"}"#,
        ];
        let named = Wanted::Named(NAMES.map(str::to_owned).to_vec());
        assert_eq!(found(&named, &lines), found(&Wanted::All, &lines));
        // Of the stream's own labels nothing is looked for: the line ends with what is left to find.
        let some = Wanted::Named(vec!["app".to_owned(), "status".to_owned()]);
        let status = |found: Vec<Vec<Option<String>>>| -> Vec<_> {
            found.into_iter().map(|mut values| values.swap_remove(0)).collect()
        };
        assert_eq!(status(found(&some, &lines)), status(found(&Wanted::All, &lines)));
    }
}
