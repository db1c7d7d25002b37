//! A table of path patterns: which backend a request path belongs to, and which route it is.
//!
//! A pattern is a run of segments, each a literal or "any one"; it matches a path exactly, or any
//! path that begins so. Patterns lie in buckets by their first literal, the most telling first, so
//! a lookup compares a handful. Nothing here allocates.

use hashbrown::HashMap;

/// The most segments that are looked at; deeper paths count as paths of this depth.
const SEGMENTS_MAX: usize = 12;

/// The segments of a request path, without its query.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segments<'a> {
    parts: [&'a str; SEGMENTS_MAX],
    n_parts: usize,
}

impl<'a> Segments<'a> {
    /// Splits a path (or an absolute URL's path and query). A GUID with a prefix (`dg.4503/…`,
    /// `ark:/…`) is two segments on the wire and one here.
    pub(super) fn of(path: &'a str) -> Self {
        let end = path.find(['?', '#']).unwrap_or(path.len());
        let mut found = Self { parts: [""; SEGMENTS_MAX], n_parts: 0 };
        let mut after_prefix = false;
        for part in path[..end].split('/').filter(|part| !part.is_empty()) {
            if std::mem::take(&mut after_prefix) {
                continue;
            }
            after_prefix = part.starts_with("dg.") || part.starts_with("ark:");
            if found.n_parts == SEGMENTS_MAX {
                break;
            }
            found.parts[found.n_parts] = part;
            found.n_parts += 1;
        }
        found
    }

    /// Returns the segments.
    pub(super) fn as_slice(&self) -> &[&'a str] {
        &self.parts[..self.n_parts]
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    AnyOne,
}

#[derive(Debug, Clone)]
struct Pattern<T> {
    parts: Vec<Part>,
    is_prefix: bool,
    value: T,
}

impl<T> Pattern<T> {
    fn matches(&self, segments: &[&str]) -> bool {
        let fits = if self.is_prefix {
            segments.len() >= self.parts.len()
        } else {
            segments.len() == self.parts.len()
        };
        fits && self.parts.iter().zip(segments).all(|(part, segment)| match part {
            Part::Literal(literal) => &**literal == *segment,
            Part::AnyOne => true,
        })
    }

    /// More literals first, then longer patterns, then exact before prefix.
    fn rank(&self) -> (usize, usize, bool) {
        let n_literals = self.parts.iter().filter(|part| **part != Part::AnyOne).count();
        (n_literals, self.parts.len(), !self.is_prefix)
    }
}

/// Patterns with a value each; the most telling match wins.
#[derive(Debug, Clone)]
pub(super) struct PathTable<T> {
    by_first: HashMap<Box<str>, Vec<Pattern<T>>>,
    /// Patterns that begin with "any one", or match every path.
    open: Vec<Pattern<T>>,
}

impl<T> PathTable<T> {
    pub(super) fn new() -> Self {
        Self { by_first: HashMap::new(), open: Vec::new() }
    }

    /// Adds a prefix such as `/user/`, or `/a/*/b` with `*` for one segment.
    pub(super) fn add_prefix(&mut self, prefix: &str, value: T) {
        self.add(prefix, true, value);
    }

    /// Adds a template such as `/user/login/{idp}`, or `/static/{asset...}` for any depth.
    pub(super) fn add_template(&mut self, template: &str, value: T) {
        match template.rsplit_once('/') {
            Some((head, last)) if last.ends_with("...}") => self.add(head, true, value),
            _ => self.add(template, false, value),
        }
    }

    fn add(&mut self, text: &str, is_prefix: bool, value: T) {
        let part = |segment: &str| match segment {
            "*" => Part::AnyOne,
            s if s.starts_with('{') => Part::AnyOne,
            s => Part::Literal(Box::from(s)),
        };
        let parts: Vec<Part> = text.split('/').filter(|s| !s.is_empty()).map(part).collect();
        let bucket = match parts.first() {
            Some(Part::Literal(first)) => self.by_first.entry(first.clone()).or_default(),
            _ => &mut self.open,
        };
        bucket.push(Pattern { parts, is_prefix, value });
        bucket.sort_by_key(|pattern| std::cmp::Reverse(pattern.rank()));
    }

    /// Returns the value of the most telling pattern that matches.
    pub(super) fn find(&self, segments: &Segments<'_>) -> Option<&T> {
        let segments = segments.as_slice();
        let bucket = segments.first().and_then(|first| self.by_first.get(*first));
        let all = bucket.into_iter().flatten().chain(&self.open);
        all.into_iter().find(|pattern| pattern.matches(segments)).map(|pattern| &pattern.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> PathTable<&'static str> {
        let mut table = PathTable::new();
        for prefix in ["/", "/api/", "/api/search", "/ga4gh/", "/ga4gh/drs/v1/objects/*/access"] {
            table.add_prefix(prefix, prefix);
        }
        for template in ["/user/login/{idp}", "/user/login/{idp}/login", "/static/{asset...}"] {
            table.add_template(template, template);
        }
        table
    }

    #[track_caller]
    fn check(path: &str, want: &str) {
        assert_eq!(table().find(&Segments::of(path)).copied(), Some(want), "{path}");
    }

    #[test]
    fn the_longest_prefix_wins() {
        check("/api/search/all?x=/ga4gh", "/api/search");
        check("/api/v0", "/api/");
        check("/apis", "/");
        check("//api//v0", "/api/");
        check("", "/");
        check("/ga4gh/drs/v1/objects/abc/access/s3", "/ga4gh/drs/v1/objects/*/access");
        check("/ga4gh/drs/v1/objects/abc", "/ga4gh/");
    }

    #[test]
    fn a_prefixed_guid_is_one_segment() {
        check("/ga4gh/drs/v1/objects/dg.4503/11-22/access/s3", "/ga4gh/drs/v1/objects/*/access");
    }

    #[test]
    fn templates_match_whole_paths() {
        check("/user/login/google", "/user/login/{idp}");
        check("/user/login/google/login?code=1", "/user/login/{idp}/login");
        check("/user/login/google/other", "/");
        check("/static/a/b/c.js", "/static/{asset...}");
    }

    #[test]
    fn very_deep_paths_are_cut_not_refused() {
        check(&"/api".repeat(5_000), "/api/");
    }
}
