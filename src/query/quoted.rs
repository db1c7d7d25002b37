//! What a deletion means of what is quoted elsewhere of the rows that it takes.
//!
//! A quotation has less than its row: a line without its metadata, and cut when it was long; a trace without
//! most columns of its spans; a number under those labels that an expression left it. What cannot be looked
//! at counts as if it were meant: rather too much goes than too little.

use super::error::QueryError;
use super::limits::Config;
use super::logql::{self, QuotedLines};
use super::promql;
use super::session_delete::Doomed;
use crate::model::labels::METRIC_NAME;
use crate::model::{Labels, Matcher};

/// Tells which quotations a deletion means.
#[derive(Debug)]
pub struct Quoted {
    /// All matchers of any of them must fit.
    sets: Vec<Vec<Matcher>>,
    of: Of,
}

#[derive(Debug)]
enum Of {
    Series,
    Lines(QuotedLines),
    Spans,
}

impl Quoted {
    /// Reads what is to be deleted.
    pub fn new(doomed: &Doomed, config: &Config) -> Result<Self, QueryError> {
        let parse = config.promql_limits().parse;
        Ok(match doomed {
            Doomed::Series(selectors) => {
                Self { sets: promql::parse_selectors(selectors, &parse)?, of: Of::Series }
            }
            Doomed::Spans(selectors) => {
                Self { sets: promql::parse_selectors(selectors, &parse)?, of: Of::Spans }
            }
            Doomed::Lines(query) => {
                let log = logql::parse_log(query, &config.log_limits().parse)?;
                let lines = QuotedLines::new(log)?;
                Self { sets: vec![lines.matchers().to_vec()], of: Of::Lines(lines) }
            }
        })
    }

    /// Returns whether anything of the commons that labels name may be meant.
    pub fn may_concern(&self, labels: &Labels) -> bool {
        let of_commons = |matcher: &&Matcher| matcher.name == COMMONS;
        self.sets.iter().any(|set| set.iter().filter(of_commons).all(|m| fits(m, labels)))
    }

    /// Returns whether a line may be meant, of whose stream these labels are known.
    pub fn means_line(&self, known: &Labels, line: &str, is_cut: bool) -> bool {
        match &self.of {
            Of::Lines(lines) => self.any_fits(known) && lines.may_mean(line, is_cut),
            Of::Series | Of::Spans => false,
        }
    }

    /// Returns whether spans may be meant that have these labels, those of the columns of spans.
    pub fn means_spans(&self, known: &Labels) -> bool {
        matches!(self.of, Of::Spans) && self.any_fits(known)
    }

    /// Returns whether a series, or a number that an expression made of series, may be meant.
    pub fn means_series(&self, labels: &Labels) -> bool {
        matches!(self.of, Of::Series) && self.sets.iter().any(|set| means(set, labels))
    }

    fn any_fits(&self, known: &Labels) -> bool {
        self.sets.iter().any(|set| set.iter().all(|matcher| fits(matcher, known)))
    }
}

const COMMONS: &str = "commons";

/// A label that is not there may have been anything.
fn fits(matcher: &Matcher, known: &Labels) -> bool {
    known.get(&matcher.name).is_none_or(|value| matcher.matches(value))
}

fn means(set: &[Matcher], labels: &Labels) -> bool {
    if labels.get(METRIC_NAME).is_some() {
        // It has a name: no expression has taken labels from it.
        return set.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or_default()));
    }
    // A number of many series together stays, as recorded ones do, unless it says whose it is.
    let is_told = |matcher: &Matcher| labels.get(&matcher.name).is_some();
    let mut others = set.iter().filter(|matcher| matcher.name != COMMONS).peekable();
    let is_whole_commons = others.peek().is_none();
    set.iter().all(|m| fits(m, labels)) && (is_whole_commons || others.any(is_told))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(doomed: Doomed) -> Quoted {
        Quoted::new(&doomed, &Config::default()).unwrap()
    }

    fn of_heart(more: &[(&str, &str)]) -> Labels {
        [("commons", "heart")].iter().chain(more).copied().collect()
    }

    #[track_caller]
    fn check_line(query: &str, line: &str, want: bool) {
        let quoted = quoted(Doomed::Lines(query.to_owned()));
        let known = of_heart(&[("service", "fence")]);
        assert_eq!(quoted.means_line(&known, line, false), want, "{query} {line}");
    }

    #[test]
    fn a_quoted_line_is_meant_by_its_text_and_by_what_is_known_of_its_stream() {
        check_line("{commons=\"heart\"} |= \"ada\"", "error: ada", true);
        check_line("{commons=\"heart\"} |= \"ada\"", "error: bob", false);
        check_line("{commons=\"canine\"} |= \"ada\"", "error: ada", false);
        check_line("{service=\"indexd\"} |= \"ada\"", "error: ada", false);
        check_line("{commons=\"heart\"} |~ \"a.a\" != \"debug\"", "debug: ada", false);
    }

    #[test]
    fn what_a_quotation_does_not_say_counts_as_meant() {
        check_line("{pod=\"x\"} |= \"ada\"", "error: ada", true);
        check_line("{commons=\"heart\"} | json | user=\"ada\"", "{\"user\":\"ada\"}", true);
        check_line("{commons=\"heart\"} | user=\"ada\"", "a line", true);
        check_line("{commons=\"heart\"} | unpack |= \"ada\"", "{\"_entry\":\"\\u0061da\"}", true);
        let quoted = quoted(Doomed::Lines("{commons=\"heart\"} |= \"ada\"".to_owned()));
        assert!(quoted.means_line(&of_heart(&[]), "the beginning of a long line", true));
    }

    #[track_caller]
    fn check_series(selector: &str, labels: &[(&str, &str)], want: bool) {
        let quoted = quoted(Doomed::Series(vec![selector.to_owned()]));
        assert_eq!(quoted.means_series(&of_heart(labels)), want, "{selector} {labels:?}");
    }

    #[test]
    fn a_quoted_number_is_meant_when_it_says_whose_it_is() {
        check_series("up{user=\"ada\"}", &[("__name__", "up"), ("user", "ada")], true);
        check_series("up{user=\"ada\"}", &[("__name__", "up")], false);
        check_series("up{user=\"ada\"}", &[("user", "ada")], true);
        check_series("up{user=\"ada\"}", &[("user", "bob")], false);
        check_series("up{user=\"ada\"}", &[], false);
        check_series("{commons=\"heart\"}", &[], true);
        check_series("{commons=\"canine\"}", &[], false);
    }

    #[test]
    fn a_deletion_means_quotations_of_its_own_signal() {
        let of_spans = quoted(Doomed::Spans(vec!["{trace_id=\"a\"}".to_owned()]));
        let of_series = quoted(Doomed::Series(vec!["{trace_id=\"a\"}".to_owned()]));
        let span = of_heart(&[("trace_id", "a"), ("name", "get")]);

        assert!(of_spans.means_spans(&span) && !of_series.means_spans(&span));
        assert!(!of_spans.means_spans(&of_heart(&[("trace_id", "b")])));
        assert!(of_series.means_series(&span) && !of_spans.means_series(&span));
        assert!(!of_spans.means_line(&span, "a", false) && of_spans.may_concern(&span));
    }
}
