//! YAML as a tree that knows its lines, so that each mistake names the line it stands on.
//!
//! Scalars stay the texts they are in the file, `1.10` and `yes` too: what a text means is the business
//! of the key it belongs to. Nesting, aliases and their expansion are bounded by the YAML reader's own
//! budget.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::notify::SecretUrl;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// Counted from 1.
    pub(super) line: u64,
    pub(super) value: Value,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Scalar(String),
    /// One that the YAML reader took for a number or a truth: where its text stands, in characters.
    /// [`Node::parse`] leaves none.
    Inferred {
        start: usize,
        n_chars: usize,
    },
    List(Vec<Node>),
    /// In the order of the file.
    Map(Vec<(String, Node)>),
}

impl Node {
    /// Reads a text; the error is a line and a reason.
    pub(super) fn parse(text: &str) -> Result<Self, (u64, String)> {
        if text.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
            return Ok(Self { line: 1, value: Value::Null });
        }
        let read: Result<Self, _> = serde_saphyr::from_str(text);
        let mut node = read.map_err(|error| {
            let line = error.location().map_or(1, |location| location.line());
            let reason = error.without_snippet().to_string();
            (line, reason.lines().next().unwrap_or("not YAML").to_owned())
        })?;
        let starts: Vec<usize> =
            text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
        node.spell_out(text, &starts);
        Ok(node)
    }

    /// Puts its own text in the place of each scalar that was inferred.
    fn spell_out(&mut self, text: &str, starts: &[usize]) {
        match &mut self.value {
            Value::Null | Value::Scalar(_) => {}
            Value::Inferred { start, n_chars } => {
                let at = |idx: usize| starts.get(idx).copied().unwrap_or(text.len());
                let spelt = &text[at(*start)..at(start.saturating_add(*n_chars))];
                self.value = Value::Scalar(spelt.trim().to_owned());
            }
            Value::List(nodes) => nodes.iter_mut().for_each(|node| node.spell_out(text, starts)),
            Value::Map(pairs) => {
                pairs.iter_mut().for_each(|(_, node)| node.spell_out(text, starts));
            }
        }
    }

    /// Returns what kind of value this is, for messages.
    pub(super) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Scalar(_) | Value::Inferred { .. } => "a text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined, .. } = Spanned::<Value>::deserialize(from)?;
        let number = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let value = match value {
            Value::Inferred { .. } => {
                let span = defined.span();
                Value::Inferred { start: number(span.offset()), n_chars: number(span.len()) }
            }
            value => value,
        };
        Ok(Self { line: referenced.line(), value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyValue)
    }
}

struct AnyValue;

/// Stands for a scalar whose place is not known yet.
const INFERRED: Value = Value::Inferred { start: 0, n_chars: 0 };

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("YAML")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, from: D) -> Result<Value, D::Error> {
        Value::deserialize(from)
    }

    fn visit_bool<E>(self, _value: bool) -> Result<Value, E> {
        Ok(INFERRED)
    }

    fn visit_i64<E>(self, _value: i64) -> Result<Value, E> {
        Ok(INFERRED)
    }

    fn visit_u64<E>(self, _value: u64) -> Result<Value, E> {
        Ok(INFERRED)
    }

    fn visit_f64<E>(self, _value: f64) -> Result<Value, E> {
        Ok(INFERRED)
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = list.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = map.next_entry()? {
            pairs.push(pair);
        }
        Ok(Value::Map(pairs))
    }
}

/// What a secret is shown as, Alertmanager's word.
const MASK: &str = "<secret>";

/// Keys whose values nobody is shown, beside all that end in `_password`, `_secret` or `_key`.
const SECRETS: &[&str] = &[
    "password",
    "key",
    "credentials",
    "bearer_token",
    "client_secret",
    "token",
    "bot_token",
    "service_key",
    "routing_key",
    "api_key",
    "user_key",
    "secret_key",
    "slack_api_url",
    "api_url",
    "webhook_url",
    "url",
    "smtp_auth_password",
    "smtp_auth_secret",
    "auth_password",
    "auth_secret",
];

/// Writes a tree as YAML, secrets masked; what is read back is the same but for those.
pub(super) fn masked_yaml(node: &Node) -> String {
    let mut out = String::new();
    write_value(&mut out, node, 0, false);
    out
}

fn write_value(out: &mut String, node: &Node, depth: usize, is_secret: bool) {
    match &node.value {
        Value::Null => out.push_str(" null\n"),
        Value::Inferred { .. } => out.push_str(" null\n"), // Spelt out before anything is shown.
        Value::Scalar(text) if is_secret => out.push_str(&format!(" {}\n", masked(text))),
        Value::Scalar(text) => out.push_str(&format!(" {}\n", json(text))),
        Value::List(nodes) if nodes.is_empty() => out.push_str(" []\n"),
        Value::Map(pairs) if pairs.is_empty() => out.push_str(" {}\n"),
        Value::List(nodes) => {
            begin(out, depth);
            for node in nodes {
                out.push_str(&format!("{:indent$}-", "", indent = depth * 2));
                write_value(out, node, depth + 1, is_secret);
            }
        }
        Value::Map(pairs) => {
            begin(out, depth);
            for (key, node) in pairs {
                out.push_str(&format!("{:indent$}{}:", "", json(key), indent = depth * 2));
                // Under a heading of secrets (headers) every value is one.
                write_value(out, node, depth + 1, is_secret || is_secret_key(key));
            }
        }
    }
}

/// A URL keeps its host, so that the whole stays a configuration that `amtool` reads.
fn masked(text: &str) -> String {
    SecretUrl::parse(text).map_or_else(|_| MASK.to_owned(), |url| json(&format!("{url:?}")))
}

fn begin(out: &mut String, depth: usize) {
    if depth > 0 {
        out.push('\n');
    }
}

/// Writes a scalar. Words and numbers stand as they are, since a reader that wants a truth or a number
/// takes no quoted one; a JSON text is a YAML text.
fn json(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_./-".contains(c);
    let is_word =
        text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.chars().all(is_plain);
    if is_word && !text.eq_ignore_ascii_case("null") {
        return text.to_owned();
    }
    serde_json::Value::from(text).to_string()
}

fn is_secret_key(key: &str) -> bool {
    SECRETS.contains(&key)
        || ["_password", "_secret", "_key", "_token"].iter().any(|end| key.ends_with(end))
        || key == "http_headers"
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "a: 1\nb:\n  - x: 'yes'\n    url: https://h/secret\n  - [p, \"q: r\"]\nc:\nd: {}\n";

    #[test]
    fn each_value_knows_its_line() {
        let node = Node::parse(TEXT).unwrap();

        let Value::Map(pairs) = &node.value else { panic!("{node:?}") };
        let lines: Vec<(&str, u64)> =
            pairs.iter().map(|(key, node)| (key.as_str(), node.line)).collect();
        assert_eq!(lines[0], ("a", 1));
        let Value::List(items) = &pairs[1].1.value else { panic!("{node:?}") };
        assert_eq!((items[0].line, items[1].line), (3, 5));
    }

    #[test]
    fn what_is_shown_reads_back_and_has_no_secret() {
        let shown = masked_yaml(&Node::parse(TEXT).unwrap());

        assert!(shown.contains("\"https://h/<secret>\""), "{shown}");
        let again = masked_yaml(&Node::parse(&shown).unwrap());
        assert_eq!(again.replace("<secret>", "\"https://h/<secret>\""), shown);
        assert!(shown.contains("\"q: r\"") && shown.contains("x: yes"), "{shown}");
    }

    #[test]
    fn scalars_are_the_texts_they_are_in_the_file() {
        let text = "é: &v 1.10\nb: [yes, n, 007, 0x1F, 1e3, -5, *v, 09:00, '1', true]\n";
        let node = Node::parse(text).unwrap();

        let Value::Map(pairs) = &node.value else { panic!("{node:?}") };
        let Value::List(items) = &pairs[1].1.value else { panic!("{node:?}") };
        let texts = items.iter().map(|item| match &item.value {
            Value::Scalar(text) => text.as_str(),
            other => panic!("{other:?}"),
        });
        let want = ["yes", "n", "007", "0x1F", "1e3", "-5", "1.10", "09:00", "1", "true"];
        assert_eq!(texts.collect::<Vec<_>>(), want);
    }

    #[test]
    fn broken_yaml_is_refused_with_its_line() {
        let (line, _) = Node::parse("a: 1\nb: [1,\nc: 2\n").unwrap_err();

        assert!(line >= 2, "{line}");
    }
}
