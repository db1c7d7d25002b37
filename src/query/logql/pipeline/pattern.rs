//! `| pattern` and `|>`: texts with holes, `<ip> - <_> "<method> <path>"`.

use crate::model::names::is_label_name;

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// `<name>`; `<_>` has none.
    Hole(Option<String>),
}

/// A pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) struct Pattern {
    pieces: Vec<Piece>,
}

impl Pattern {
    /// Reads the pattern of a parser: there must be a named hole.
    pub(super) fn parser(text: &str) -> Result<Self, String> {
        let pattern = Self::parse(text)?;
        let names: Vec<&str> = pattern.names().collect();
        if names.is_empty() {
            return Err("at least one capture is required".to_owned());
        }
        for (idx, name) in names.iter().enumerate() {
            if names[..idx].contains(name) {
                return Err(format!("duplicate capture name ({name})"));
            }
        }
        Ok(pattern)
    }

    /// Reads the pattern of a line filter: no hole has a name.
    pub(in super::super) fn filter(text: &str) -> Result<Self, String> {
        let pattern = Self::parse(text)?;
        if pattern.names().next().is_some() {
            return Err("named captures are not allowed".to_owned());
        }
        Ok(pattern)
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut pieces: Vec<Piece> = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            match hole(rest) {
                Some((name, n_bytes)) => {
                    if !literal.is_empty() {
                        pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                    } else if let Some(Piece::Hole(before)) = pieces.last() {
                        let show = |name: Option<&str>| format!("<{}>", name.unwrap_or("_"));
                        return Err(format!(
                            "found consecutive capture '{}{}': invalid expression",
                            show(before.as_deref()),
                            show(name)
                        ));
                    }
                    pieces.push(Piece::Hole(name.map(str::to_owned)));
                    rest = &rest[n_bytes..];
                }
                None => {
                    literal.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self { pieces })
    }

    /// Returns the texts between its holes.
    pub(in super::super) fn literals(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(text.as_str()),
            Piece::Hole(_) => None,
        })
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Hole(name) => name.as_deref(),
            Piece::Literal(_) => None,
        })
    }

    /// Calls `each` with the name and text of every named hole. A line that ends too soon fills one
    /// last hole with its rest; one that begins otherwise fills none.
    pub(super) fn captures<'a>(&self, line: &'a str, mut each: impl FnMut(&str, &'a str)) {
        let (mut rest, mut pieces) = (line, self.pieces.as_slice());
        if line.is_empty() {
            return;
        }
        if let [Piece::Literal(literal), behind @ ..] = pieces {
            let Some(behind_it) = rest.strip_prefix(literal.as_str()) else { return };
            (rest, pieces) = (behind_it, behind);
        }
        while let [Piece::Hole(name), behind @ ..] = pieces {
            let found = match behind.first() {
                Some(Piece::Literal(literal)) => {
                    rest.find(literal.as_str()).map(|at| (at, at + literal.len()))
                }
                _ => None,
            };
            let (end, next) = found.unwrap_or((rest.len(), rest.len()));
            if let Some(name) = name {
                each(name, &rest[..end]);
            }
            if found.is_none() {
                return;
            }
            rest = &rest[next..];
            pieces = &behind[1..];
        }
    }

    /// Returns true when the whole line has the pattern's shape; a hole takes at least one character.
    pub(super) fn is_match(&self, line: &str) -> bool {
        if line.is_empty() || self.pieces.is_empty() {
            return line.is_empty() && self.pieces.is_empty();
        }
        let mut at = 0;
        for (idx, piece) in self.pieces.iter().enumerate() {
            let Piece::Literal(literal) = piece else { continue };
            let is_last = idx + 1 == self.pieces.len();
            let place = match (idx, is_last) {
                // At the end of the line, and nowhere else.
                (1.., true) => {
                    line[at..].ends_with(literal).then(|| line.len() - at - literal.len())
                }
                _ => line[at..].find(literal.as_str()),
            };
            let Some(place) = place else { return false };
            let behind_hole = idx > 0;
            if (behind_hole && place == 0) || (!behind_hole && place > 0) {
                return false;
            }
            at += place + literal.len();
        }
        match self.pieces.last() {
            Some(Piece::Hole(_)) => at < line.len(),
            _ => at == line.len(),
        }
    }
}

/// Returns the hole that a text begins with: its name, unless that is `_`, and its length.
fn hole(text: &str) -> Option<(Option<&str>, usize)> {
    let inside = text.strip_prefix('<')?;
    let end = inside.find('>')?;
    let name = &inside[..end];
    is_label_name(name).then_some(((name != "_").then_some(name), end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, line: &str, want: &[(&str, &str)]) {
        let pattern = Pattern::parser(pattern).unwrap();
        let mut found = Vec::new();
        pattern.captures(line, |name, text| found.push((name.to_owned(), text)));
        let found: Vec<_> = found.iter().map(|(name, text)| (name.as_str(), *text)).collect();
        assert_eq!(found, want, "{line}");
    }

    #[test]
    fn holes_are_filled_from_left_to_right() {
        check(
            "<ip> - <_> \"<method> <path>\"",
            "10.0.0.1 - x \"GET /a b\" 200",
            &[("ip", "10.0.0.1"), ("method", "GET"), ("path", "/a b")],
        );
        check("level=<level> <_>", "level=info x", &[("level", "info")]);
        check("level=<level> <_>", "x level=info", &[]);
        check("<a>,<b>", "only", &[("a", "only")]);
        check("<a> < <b>", "1 < 2", &[("a", "1"), ("b", "2")]);
    }

    #[test]
    fn a_filter_takes_whole_lines() {
        for (pattern, line, want) in [
            ("GET <_> 200", "GET /a 200", true),
            ("GET <_> 200", "GET /a 2000", false),
            ("GET <_> 200", "GET /a 200 x 200", true),
            ("<_>/a<_>", "GET /a 2", true),
            ("<_>/a<_>", "/a 2", false),
            ("<_>/a", "GET /a", true),
            ("exact", "exact", true),
            ("exact", "exactly", false),
            ("", "", true),
            ("<_>", "", false),
        ] {
            assert_eq!(Pattern::filter(pattern).unwrap().is_match(line), want, "{pattern} {line}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_meant_are_refused() {
        assert_eq!(Pattern::parser("<_>").unwrap_err(), "at least one capture is required");
        assert_eq!(
            Pattern::parser("<a><b>").unwrap_err(),
            "found consecutive capture '<a><b>': invalid expression"
        );
        assert_eq!(Pattern::parser("<a> <a>").unwrap_err(), "duplicate capture name (a)");
        assert_eq!(Pattern::filter("<a>").unwrap_err(), "named captures are not allowed");
    }
}
