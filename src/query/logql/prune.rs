//! What a query's lines must have, so that the store can leave out rows without reading their lines.
//!
//! Line filters ask for texts as the line was stored, so they count until a stage makes another line
//! of it. A condition on a label counts when its value must stand in the line or the stream as it is
//! written. Whatever cannot be told is asked of no one: see [`LineNeed`].

use regex_syntax::hir::{Class, Hir, HirKind};

use super::pipeline::{LEVEL, Pattern};
use super::syntax::LogExpr;
use super::syntax::ast::{
    FormatSource, LabelFilter, LabelFormat, LineFilter, LineOp, LinePattern, Stage,
};
use crate::model::regexp::{self, Dot};
use crate::model::{MatchOp, Matcher, level};
use crate::storage::LineNeed;

/// Labels whose values stand in columns of their own, or nowhere.
const NOT_IN_LINES: [&str; 9] = [
    "commons",
    "service",
    "env",
    "cluster",
    "service_name",
    "span_id",
    "scope_name",
    "severity_text",
    "severity_number",
];

/// The label of a record's trace, which has a column of its own and may stand in lines as well.
const TRACE_ID: &str = "trace_id";

/// Returns what a line must have to come out of a query.
pub(super) fn need(log: &LogExpr) -> LineNeed {
    let mut needs = Vec::new();
    // What stages have done so far: made another line, found labels, made labels.
    let (mut is_as_stored, mut has_parsed) = (true, false);
    let mut made = Made::default();
    for stage in &log.stages {
        match stage {
            Stage::Line(filter) if is_as_stored => needs.push(of_line_filter(filter)),
            Stage::Filter(filter) if !has_parsed => {
                needs.push(LineNeed::all([of_level(filter), of_label_filter(filter, &made)]));
            }
            Stage::Filter(filter) if is_as_stored => needs.push(of_label_filter(filter, &made)),
            Stage::Line(_) | Stage::Filter(_) => {}
            Stage::Json(_) | Stage::Logfmt { .. } | Stage::Regexp(_) | Stage::Pattern(_) => {
                made.may_be_found_again();
                has_parsed = true;
            }
            Stage::Drop(_) | Stage::Keep(_) => has_parsed = true,
            Stage::LabelFormat(formats) => {
                made.add(formats, is_as_stored);
                has_parsed = true;
            }
            // Labels are found that stand nowhere, or another line is made.
            Stage::LineFormat(_) | Stage::Unpack | Stage::Decolorize | Stage::Unwrap(_) => {
                made.may_be_found_again();
                (is_as_stored, has_parsed) = (false, true);
            }
        }
    }
    LineNeed::all(needs)
}

/// The labels that `label_format` has made, and what a line must have for one of them to be `true`.
/// That is how Grafana looks for a trace's lines.
#[derive(Default)]
struct Made<'q>(Vec<(&'q str, LineNeed)>);

impl<'q> Made<'q> {
    fn add(&mut self, formats: &'q [LabelFormat], is_as_stored: bool) {
        for format in formats {
            let need = match &format.source {
                FormatSource::Template(text) if is_as_stored => contained_text(text)
                    .map_or(LineNeed::Nothing, |text| LineNeed::text(text.as_bytes())),
                FormatSource::Template(_) | FormatSource::Rename(_) => LineNeed::Nothing,
            };
            self.0.push((&format.target, need));
        }
    }

    /// Notes that a parser may have found other values.
    fn may_be_found_again(&mut self) {
        self.0.iter_mut().for_each(|(_, need)| *need = LineNeed::Nothing);
    }

    /// Returns what is needed for a label to have a value, if it was made.
    fn need(&self, matcher: &Matcher) -> Option<LineNeed> {
        let (_, need) = self.0.iter().rfind(|(name, _)| *name == matcher.name)?;
        let is_true = matcher.op == MatchOp::Eq && matcher.value == "true";
        Some(if is_true { need.clone() } else { LineNeed::Nothing })
    }
}

/// Returns the text of ``{{ contains "text" __line__ }}``.
fn contained_text(template: &str) -> Option<&str> {
    let inside = template.strip_prefix("{{")?.strip_suffix("}}")?.trim();
    let quoted = inside.strip_prefix("contains")?.strip_suffix("__line__")?.trim();
    let text = quoted.strip_prefix('"')?.strip_suffix('"')?;
    (!text.contains(['"', '\\', '{', '}'])).then_some(text)
}

fn of_line_filter(filter: &LineFilter) -> LineNeed {
    if filter.op.is_negation() {
        return LineNeed::Nothing;
    }
    LineNeed::any(filter.any_of.iter().map(|pattern| of_pattern(filter.op, pattern)))
}

fn of_pattern(op: LineOp, pattern: &LinePattern) -> LineNeed {
    let text = pattern.text.as_str();
    match op {
        _ if pattern.is_ip => LineNeed::Nothing,
        LineOp::Contains => LineNeed::text(text.as_bytes()),
        LineOp::Matches => regexp::translate(text, Dot::InLine)
            .map_or(LineNeed::Nothing, |translated| of_regex(&translated)),
        LineOp::Pattern => Pattern::filter(text).map_or(LineNeed::Nothing, |pattern| {
            LineNeed::all(pattern.literals().map(|literal| LineNeed::text(literal.as_bytes())))
        }),
        LineOp::ContainsNot | LineOp::MatchesNot | LineOp::PatternNot => LineNeed::Nothing,
    }
}

/// Returns what a condition says of the level that is found where no stage has found another.
fn of_level(filter: &LabelFilter) -> LineNeed {
    match filter {
        LabelFilter::Text(matcher) if matcher.name == LEVEL => {
            LineNeed::level(level::set_of(|name| matcher.matches(name)))
        }
        LabelFilter::Text(_) | LabelFilter::Number { .. } | LabelFilter::Ip { .. } => {
            LineNeed::Nothing
        }
        LabelFilter::And(left, right) => LineNeed::all([of_level(left), of_level(right)]),
        LabelFilter::Or(left, right) => LineNeed::any([of_level(left), of_level(right)]),
    }
}

fn of_label_filter(filter: &LabelFilter, made: &Made<'_>) -> LineNeed {
    match filter {
        LabelFilter::Text(matcher) => made.need(matcher).unwrap_or_else(|| of_value(matcher)),
        LabelFilter::Number { .. } | LabelFilter::Ip { .. } => LineNeed::Nothing,
        LabelFilter::And(left, right) => {
            LineNeed::all([of_label_filter(left, made), of_label_filter(right, made)])
        }
        LabelFilter::Or(left, right) => {
            LineNeed::any([of_label_filter(left, made), of_label_filter(right, made)])
        }
    }
}

fn of_value(matcher: &Matcher) -> LineNeed {
    let name = matcher.name.as_str();
    // What a column says gets a longer name beside a label of the stream.
    let of_column = name.strip_suffix("_extracted").unwrap_or(name);
    let is_elsewhere = NOT_IN_LINES.contains(&of_column)
        || (of_column == TRACE_ID && name != TRACE_ID)
        || name == LEVEL
        || name.starts_with("__");
    if is_elsewhere || matcher.op != MatchOp::Eq || matcher.value.is_empty() {
        return LineNeed::Nothing;
    }
    if name == TRACE_ID {
        return LineNeed::trace(&matcher.value);
    }
    // A space may have been the replacement character.
    LineNeed::all(matcher.value.split(' ').map(|part| LineNeed::value(part.as_bytes())))
}

/// Returns the texts that every match of a regular expression holds, which is written for the `regex`
/// crate.
pub(in crate::query) fn of_regex(text: &str) -> LineNeed {
    regex_syntax::parse(text).map_or(LineNeed::Nothing, |hir| of_hir(&hir))
}

fn of_hir(hir: &Hir) -> LineNeed {
    match hir.kind() {
        HirKind::Alternation(options) => LineNeed::any(options.iter().map(of_hir)),
        HirKind::Repetition(repeated) if repeated.min > 0 => of_hir(&repeated.sub),
        HirKind::Repetition(_) | HirKind::Empty | HirKind::Look(_) => LineNeed::Nothing,
        HirKind::Capture(capture) => of_hir(&capture.sub),
        HirKind::Concat(parts) => {
            let mut run = Run::default();
            parts.iter().for_each(|part| run.push(part));
            run.end()
        }
        HirKind::Literal(_) | HirKind::Class(_) => {
            let mut run = Run::default();
            run.push(hir);
            run.end()
        }
    }
}

/// Parts of an expression that follow each other in every match.
#[derive(Default)]
struct Run {
    text: Vec<u8>,
    needs: Vec<LineNeed>,
}

impl Run {
    fn push(&mut self, part: &Hir) {
        match part.kind() {
            HirKind::Literal(literal) => self.text.extend_from_slice(&literal.0),
            HirKind::Class(class) => match one_letter(class) {
                Some(letter) => self.text.push(letter),
                None => self.cut(),
            },
            HirKind::Capture(capture) => self.push(&capture.sub),
            HirKind::Concat(parts) => parts.iter().for_each(|part| self.push(part)),
            // They take no place in the line.
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Alternation(_) | HirKind::Repetition(_) => {
                self.cut();
                self.needs.push(of_hir(part));
            }
        }
    }

    fn cut(&mut self) {
        self.needs.push(LineNeed::text(&std::mem::take(&mut self.text)));
    }

    fn end(mut self) -> LineNeed {
        self.cut();
        LineNeed::all(self.needs)
    }
}

/// Returns the letter that a class is in both its cases, or its only character.
fn one_letter(class: &Class) -> Option<u8> {
    let ranges: Vec<(u32, u32)> = match class {
        Class::Unicode(class) => {
            class.iter().map(|range| (u32::from(range.start()), u32::from(range.end()))).collect()
        }
        Class::Bytes(class) => {
            class.iter().map(|range| (u32::from(range.start()), u32::from(range.end()))).collect()
        }
    };
    let mut letters = ranges.into_iter().map(|(start, end)| {
        let letter = u8::try_from(start).ok().filter(u8::is_ascii)?;
        (start == end).then(|| letter.to_ascii_lowercase())
    });
    let first = letters.next()??;
    letters.all(|letter| letter == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::logql::{ParseLimits, parse_log};

    fn text(text: &str) -> LineNeed {
        LineNeed::text(text.as_bytes())
    }

    #[track_caller]
    fn check(stages: &str, want: LineNeed) {
        let query = format!("{{app=\"a\"}} {stages}");
        let log = parse_log(&query, &ParseLimits::default()).unwrap();
        assert_eq!(need(&log), want, "{stages}");
    }

    const ID: &str = "0d9f3c7ab1e24f6680aa11bb22cc33dd";
    const OTHER: &str = "connection reset by peer";

    #[test]
    fn texts_of_line_filters_are_needed() {
        assert_ne!(text(ID), LineNeed::Nothing);
        check(&format!("|= `{ID}`"), text(ID));
        check(&format!("|= `{ID}` |= `{OTHER}`"), LineNeed::all([text(ID), text(OTHER)]));
        check(&format!("|= `{ID}` or `{OTHER}`"), LineNeed::any([text(ID), text(OTHER)]));
        check(&format!("|= `{ID}` or `x`"), LineNeed::Nothing);
        check(&format!("!= `{ID}`"), LineNeed::Nothing);
        check(&format!("|> `<_>{ID}<_>`"), text(ID));
        check(r#"|= ip("10.20.30.40")"#, LineNeed::Nothing);
        check(&format!("| json | decolorize |= `{ID}`"), LineNeed::Nothing);
        check(&format!("| json |= `{ID}`"), text(ID));
        check(&format!("| line_format `{ID}` |= `{ID}`"), LineNeed::Nothing);
    }

    #[test]
    fn literal_parts_of_expressions_are_needed() {
        check(&format!("|~ `a.*{ID}[0-9]+`"), text(ID));
        check(&format!("|~ `(x|{ID})`"), LineNeed::Nothing);
        check(&format!("|~ `({OTHER}|{ID})+$`"), LineNeed::any([text(OTHER), text(ID)]));
        check(&format!("|~ `({ID})?`"), LineNeed::Nothing);
        check(r"|~ `\bunable to (find) it\b`", text("unable to find it"));
        check("|~ `(?i)BLOB not found`", text("blob not found"));
        // k and s have a third form in Unicode.
        check("|~ `(?i)disk offline`", LineNeed::all([text("di"), text(" offline")]));
        check("!~ `connection reset by peer`", LineNeed::Nothing);
    }

    #[test]
    fn values_of_labels_are_needed_where_they_must_stand_in_the_line() {
        let value = || LineNeed::value(ID.as_bytes());
        assert_ne!(value(), LineNeed::Nothing);
        check(&format!("| json | request_id=`{ID}`"), value());
        let other = LineNeed::all(OTHER.split(' ').map(|part| LineNeed::value(part.as_bytes())));
        check(&format!("| json | a=`{ID}` and b=`{OTHER}`"), LineNeed::all([value(), other]));
        check(&format!("| json | size > 5KB and a=`{ID}`"), value());
        check(&format!("| json | a=`{ID}` or b=~`{OTHER}`"), LineNeed::Nothing);
        check(&format!("| json | span_id=`{ID}`"), LineNeed::Nothing);
        check(&format!("| severity_text=`{ID}`"), LineNeed::Nothing);
        check(&format!("| trace_id_extracted=`{ID}`"), LineNeed::Nothing);
        check("| json | a=``", LineNeed::Nothing);
        check(&format!("| json | a!=`{ID}`"), LineNeed::Nothing);
        check(&format!("| json | label_format a=`{ID}` | a=`{ID}`"), LineNeed::Nothing);
        check(&format!("| json | label_format a=b | a=`{ID}`"), LineNeed::Nothing);
        check(&format!("| json | label_format a=b | c=`{ID}`"), value());
        check("| json | status=`500`", LineNeed::Nothing);
    }

    #[test]
    fn traces_are_needed_as_grafana_asks_for_them() {
        let trace = || LineNeed::trace(ID);
        check(&format!("| trace_id=`{ID}`"), trace());
        check(&format!("| json | trace_id=`{ID}`"), trace());
        let said = |op: &str| {
            format!(
                "| label_format log_line_contains_trace_id=`{{{{ contains \"{ID}\" __line__  }}}}` \
                 | log_line_contains_trace_id=\"true\" {op} trace_id=\"{ID}\""
            )
        };
        check(&said("or"), LineNeed::any([text(ID), trace()]));
        check(&said("OR"), LineNeed::any([text(ID), trace()]));
        check(
            &format!("{} | drop log_line_contains_trace_id", said("or")),
            LineNeed::any([text(ID), trace()]),
        );
        check(
            &format!("| label_format a=`{{{{ contains \"{ID}\" .b }}}}` | a=`true`"),
            LineNeed::Nothing,
        );
        check(
            &format!(
                "| line_format `x` | label_format a=`{{{{ contains \"{ID}\" __line__ }}}}` | a=`true`"
            ),
            LineNeed::Nothing,
        );
        check(
            &format!("| label_format a=`{{{{ contains \"{ID}\" __line__ }}}}` | json | a=`true`"),
            LineNeed::Nothing,
        );
        check(
            &format!("| label_format a=`{{{{ contains \"{ID}\" __line__ }}}}` | a=`false`"),
            LineNeed::Nothing,
        );
    }

    #[test]
    fn levels_are_needed_unless_a_stage_may_have_found_another() {
        let errors = level::set_of(|name| name == "error");
        check("| detected_level=`error`", LineNeed::Level(errors));
        check("| detected_level=~`err.*|x` |= `y`", LineNeed::Level(errors));
        check("| json | detected_level=`error`", LineNeed::Nothing);
        check("| detected_level=~`.*`", LineNeed::Nothing);
    }
}
