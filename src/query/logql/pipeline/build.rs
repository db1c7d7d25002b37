//! Stages as written to stages that run; what is wrong with one is found here.

use super::super::error::{LogqlError, ParseError};
use super::super::syntax::ast::{FormatSource, LabelFilter, LogExpr, NameOrMatcher, Stage};
use super::super::template::Template;
use super::label_filter;
use super::line_filter::LineFilter;
use super::parsers::{Logfmt, Paths, RegexpParser};
use super::pattern::Pattern;
use super::stages::{Compiled, KnownKeys};
use super::unwrap;
use super::{Pipeline, Wanted};

type Built<T> = Result<T, LogqlError>;

fn wrong(message: impl Into<String>) -> LogqlError {
    ParseError::whole(message).into()
}

impl Pipeline {
    /// Compiles the stages of a query; `above` are the labels that what is above them looks at.
    pub(in super::super) fn new(log: &LogExpr, above: Wanted, now_ns: i64) -> Built<Self> {
        let mut stages = Vec::with_capacity(log.stages.len());
        let mut unwrapped: Option<unwrap::Compiled> = None;
        for stage in &log.stages {
            match (stage, &mut unwrapped) {
                (Stage::Unwrap(unwrap), None) => unwrapped = Some(unwrap::Compiled::new(unwrap)),
                (Stage::Filter(filter), Some(unwrapped)) => {
                    unwrapped.filters.push(label_filter::Compiled::new(filter)?);
                }
                (stage, _) => stages.push(compile(stage)?),
            }
        }
        let wanted = wanted_of(log, above);
        if wanted == Wanted::Nothing {
            // Nobody would see what a parser finds, nor whether it failed.
            stages.retain(|stage| !stage.is_parser());
        }
        let is_other = |stage: &Compiled| !stage.is_line_filter();
        let n_first = stages.iter().position(is_other).unwrap_or(stages.len());
        let first = stages.drain(..n_first).filter_map(Compiled::into_line_filter).collect();
        Ok(Self { first, stages, unwrap: unwrapped, wanted, now_ns })
    }
}

fn compile(stage: &Stage) -> Built<Compiled> {
    Ok(match stage {
        Stage::Line(filter) => Compiled::Line(LineFilter::new(filter)?),
        Stage::Json(extractions) if extractions.is_empty() => Compiled::Json(KnownKeys::default()),
        Stage::Json(extractions) => Compiled::JsonPaths(Paths::new(extractions).map_err(wrong)?),
        Stage::Logfmt { is_strict, keeps_empty, extractions } => {
            Compiled::Logfmt(Logfmt::new(*is_strict, *keeps_empty, extractions))
        }
        Stage::Regexp(regex) => Compiled::Regexp(
            RegexpParser::new(regex)
                .map_err(|error| wrong(format!("stage '| regexp {regex:?}' : {error}")))?,
        ),
        Stage::Pattern(pattern) => Compiled::Pattern(
            Pattern::parser(pattern)
                .map_err(|error| wrong(format!("stage '| pattern {pattern:?}' : {error}")))?,
        ),
        Stage::Unpack => Compiled::Unpack,
        Stage::Filter(filter) => Compiled::Filter(label_filter::Compiled::new(filter)?),
        Stage::LineFormat(text) => Compiled::LineFormat(
            template(text).map_err(|error| wrong(format!("invalid line template: {error}")))?,
        ),
        Stage::LabelFormat(formats) => {
            let mut compiled = Vec::with_capacity(formats.len());
            for format in formats {
                let source = match &format.source {
                    FormatSource::Rename(source) => Ok(source.clone()),
                    FormatSource::Template(text) => Err(template(text).map_err(|error| {
                        let label = &format.target;
                        wrong(format!("invalid template for label '{label}': {error}"))
                    })?),
                };
                compiled.push((format.target.clone(), source));
            }
            Compiled::LabelFormat(compiled)
        }
        Stage::Drop(named) => Compiled::Drop(named.clone()),
        Stage::Keep(named) => Compiled::Keep(named.clone()),
        Stage::Decolorize => Compiled::Decolorize,
        Stage::Unwrap(_) => return Err(wrong("there may be one unwrap in a pipeline")),
    })
}

fn template(text: &str) -> Result<Template, String> {
    Template::parse(text).map_err(|error| format!("template: :1: {error}"))
}

/// Returns which labels are looked at by the stages or above them.
fn wanted_of(log: &LogExpr, above: Wanted) -> Wanted {
    let mut names = match above {
        Wanted::All => return Wanted::All,
        Wanted::Named(names) => names,
        Wanted::Nothing => Vec::new(),
    };
    for stage in &log.stages {
        match stage {
            Stage::Filter(filter) => names_of_filter(filter, &mut names),
            Stage::Unwrap(unwrap) => names.push(unwrap.label.clone()),
            Stage::LabelFormat(formats) => {
                for format in formats {
                    match &format.source {
                        FormatSource::Rename(source) => names.push(source.clone()),
                        FormatSource::Template(text) => match fields_of(text) {
                            Some(fields) => names.extend(fields),
                            None => return Wanted::All,
                        },
                    }
                }
            }
            Stage::LineFormat(text) => match fields_of(text) {
                Some(fields) => names.extend(fields),
                None => return Wanted::All,
            },
            Stage::Drop(named) | Stage::Keep(named) => {
                names.extend(named.iter().filter_map(|one| match one {
                    // What is dropped whatever its value need not be there first.
                    NameOrMatcher::Name(_) => None,
                    NameOrMatcher::Matcher(matcher) => Some(matcher.name.clone()),
                }));
            }
            _ => {}
        }
    }
    if names.is_empty() { Wanted::Nothing } else { Wanted::Named(names) }
}

fn fields_of(text: &str) -> Option<Vec<String>> {
    Template::parse(text).ok()?.fields()
}

fn names_of_filter(filter: &LabelFilter, names: &mut Vec<String>) {
    match filter {
        LabelFilter::Text(matcher) => names.push(matcher.name.clone()),
        LabelFilter::Number { name, .. } | LabelFilter::Ip { name, .. } => names.push(name.clone()),
        LabelFilter::And(left, right) | LabelFilter::Or(left, right) => {
            names_of_filter(left, names);
            names_of_filter(right, names);
        }
    }
}
