//! Patterns: lines that differ only in their variable parts are one, in the manner of Drain.
//!
//! A line is split at spaces and signs. Words that hold a digit are taken for variable at once. A
//! line joins the cluster of its length and first word that it is most like, and every word in which
//! they differ becomes `<_>`. Clusters, words and lines are bounded; what is beyond is counted with
//! what it is most like or not at all.

use std::collections::{BTreeMap, HashMap};

/// A pattern and when it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogPattern {
    /// The text, `<_>` for what differs.
    pub pattern: String,
    /// The level of its lines.
    pub level: String,
    /// Lines by the start of their span, ns since 1970 UTC.
    pub samples: BTreeMap<i64, u64>,
}

impl LogPattern {
    /// Returns how many lines there were.
    pub fn n_lines(&self) -> u64 {
        self.samples.values().sum()
    }
}

const CLUSTERS_MAX: usize = 300;
/// What is behind so many words and signs is one hole; an access line of Gen3 has about 150.
const WORDS_MAX: usize = 256;
/// A line joins a cluster when so much of it is alike.
const ALIKE_MIN: f64 = 0.5;
const HOLE: &str = "<_>";

/// Clusters lines as they come.
#[derive(Debug, Default)]
pub(super) struct Clusters {
    /// By level, number of words, and first word.
    groups: HashMap<(String, usize, String), Vec<usize>>,
    all: Vec<Cluster>,
}

#[derive(Debug)]
struct Cluster {
    words: Vec<String>,
    level: String,
    samples: BTreeMap<i64, u64>,
}

impl Clusters {
    /// Adds a line of a level, seen in the span that begins at `span_ns`.
    pub(super) fn add(&mut self, line: &str, level: &str, span_ns: i64) {
        let mut words: Vec<&str> = split(line);
        if words.is_empty() {
            return;
        }
        if words.len() > WORDS_MAX {
            words.truncate(WORDS_MAX);
            words.push(HOLE);
        }
        let masked: Vec<&str> =
            words.iter().map(|word| if is_variable(word) { HOLE } else { word }).collect();
        let key = (level.to_owned(), masked.len(), masked[0].to_owned());
        let group = self.groups.entry(key).or_default();
        let alike = |cluster: &Cluster| likeness(&cluster.words, &masked);
        let best = group
            .iter()
            .map(|&idx| (idx, alike(&self.all[idx])))
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let place = match best {
            Some((idx, likeness)) if likeness >= ALIKE_MIN => idx,
            _ if self.all.len() >= CLUSTERS_MAX => return,
            _ => {
                let words = masked.iter().map(|word| (*word).to_owned()).collect();
                let (level, samples) = (level.to_owned(), BTreeMap::new());
                self.all.push(Cluster { words, level, samples });
                group.push(self.all.len() - 1);
                self.all.len() - 1
            }
        };
        let cluster = &mut self.all[place];
        for (word, of_line) in cluster.words.iter_mut().zip(&masked) {
            if word != of_line {
                HOLE.clone_into(word);
            }
        }
        *cluster.samples.entry(span_ns).or_default() += 1;
    }

    /// Returns the patterns, the most frequent first.
    pub(super) fn finish(self) -> Vec<LogPattern> {
        let patterns = self.all.into_iter().map(|cluster| {
            let Cluster { words, level, samples } = cluster;
            LogPattern { pattern: joined(&words), level, samples }
        });
        let mut patterns: Vec<LogPattern> = patterns.collect();
        patterns.sort_by_key(|pattern| std::cmp::Reverse(pattern.n_lines()));
        patterns
    }
}

/// Splits a line so that its pieces put together are the line again.
fn split(line: &str) -> Vec<&str> {
    let is_sign = |c: char| {
        matches!(c, ' ' | '=' | ',' | ':' | '"' | '[' | ']' | '(' | ')' | '{' | '}' | ';' | '|')
    };
    let mut words = Vec::new();
    let mut from = 0;
    for (at, c) in line.char_indices() {
        if is_sign(c) {
            if from < at {
                words.push(&line[from..at]);
            }
            words.push(&line[at..at + c.len_utf8()]);
            from = at + c.len_utf8();
        }
        if words.len() > WORDS_MAX {
            return words;
        }
    }
    if from < line.len() {
        words.push(&line[from..]);
    }
    words
}

fn is_variable(word: &str) -> bool {
    word.bytes().any(|byte| byte.is_ascii_digit())
}

/// Returns how much of two lines of one length is the same; signs do not count.
fn likeness(cluster: &[String], line: &[&str]) -> f64 {
    let counts = |word: &str| word.len() > 1;
    let pairs = cluster.iter().zip(line).filter(|(known, word)| counts(known) || counts(word));
    let (mut n, mut n_same) = (0_u32, 0_u32);
    for (known, word) in pairs {
        n += 1;
        n_same += u32::from(known == word);
    }
    if n == 0 { 1.0 } else { f64::from(n_same) / f64::from(n) }
}

/// Puts the pieces together; holes side by side are one.
fn joined(words: &[String]) -> String {
    let mut out = String::new();
    for word in words {
        if word != HOLE || !out.ends_with(HOLE) {
            out.push_str(word);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_differ_in_numbers_and_names_are_one_pattern() {
        let mut clusters = Clusters::default();
        for (n, user) in [(1, "ada"), (2, "bob"), (3, "cleo")] {
            let line = format!("request {n} of user {user} took {n}ms on the path /login");
            clusters.add(&line, "info", 0);
        }
        clusters.add("connection refused by the database", "error", 60);

        let found = clusters.finish();

        let shown: Vec<(&str, u64)> =
            found.iter().map(|p| (p.pattern.as_str(), p.n_lines())).collect();
        assert_eq!(
            shown,
            [
                ("request <_> of user <_> took <_> on the path /login", 3),
                ("connection refused by the database", 1),
            ]
        );
        assert_eq!(found[1].samples[&60], 1);
    }

    #[test]
    fn there_is_an_end_to_clusters_and_words() {
        let mut clusters = Clusters::default();
        for n in 0..2_000_u32 {
            let word: String = n.to_string().bytes().map(|b| char::from(b + 49)).collect();
            clusters.add(&format!("{word} alone"), "info", 0);
        }
        clusters.add(&"x ".repeat(500), "info", 0);

        assert_eq!(clusters.finish().len(), CLUSTERS_MAX);
    }
}
