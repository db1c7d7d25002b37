//! Our own metrics as samples of the reserved commons `_self`, so that dashboards and rules see the
//! server as they see everything else.

use prometheus_client::registry::Registry;

use super::samples::OwnSample;
use crate::model::tags::SELF;
use crate::model::{Labels, LabelsBuilder, SeriesMeta};

/// The service of our own metrics.
const SERVICE: &str = "commonwatch";

/// Returns all metrics at a time, ms since 1970 UTC.
pub(super) fn samples(registry: &Registry, timestamp_ms: i64) -> Vec<OwnSample> {
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, registry)
        .expect("writing to a string does not fail");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| sample(line, timestamp_ms)).collect()
}

fn sample(line: &str, timestamp_ms: i64) -> Option<OwnSample> {
    // An exemplar may follow the value; we write none, but a reader that trips is worse.
    let (labels, rest) = labels(line)?;
    let value = rest.split_whitespace().next()?.parse().ok()?;
    Some(OwnSample { labels, meta: SeriesMeta::default(), timestamp_ms, value })
}

fn labels(line: &str) -> Option<(Labels, &str)> {
    let end = line.find(['{', ' '])?;
    let mut builder = LabelsBuilder::new();
    builder.set("__name__", &line[..end]).set("service", SERVICE).set("job", SERVICE);
    let mut rest = &line[end..];
    if let Some(pairs) = rest.strip_prefix('{') {
        rest = pairs;
        while !rest.starts_with('}') {
            let (name, quoted) = rest.split_once("=\"")?;
            let (value, after) = unquote(quoted)?;
            // Our own label of that name says which commons a counter is about, not whose it is.
            builder.set(if name == "commons" { "of_commons" } else { name }, &value);
            rest = after.strip_prefix(',').unwrap_or(after);
        }
        rest = &rest[1..];
    }
    builder.set("commons", SELF);
    Some((builder.build(), rest))
}

fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, want: &[(&str, &str)], value: f64) {
        let sample = sample(line, 7).unwrap();
        for (name, text) in want {
            assert_eq!(sample.labels.get(name), Some(*text), "{line}");
        }
        assert_eq!((sample.value, sample.timestamp_ms), (value, 7));
        assert_eq!(sample.labels.get("commons"), Some("_self"));
    }

    #[test]
    fn lines_of_the_exposition_become_samples() {
        check("up 1", &[("__name__", "up"), ("service", "commonwatch")], 1.0);
        check(
            r#"a_total{reason="x \"y\", }",b="2"} 3.5"#,
            &[("reason", "x \"y\", }"), ("b", "2")],
            3.5,
        );
        check(r#"s{commons="heart"} 2"#, &[("of_commons", "heart")], 2.0);
        check(r#"h_bucket{le="+Inf"} 4 # {} 1.0"#, &[("le", "+Inf")], 4.0);
    }

    #[test]
    fn a_registry_is_read_whole() {
        let mut registry = Registry::default();
        let counter = prometheus_client::metrics::counter::Counter::<u64>::default();
        registry.register("things", "Things", counter.clone());
        counter.inc_by(3);

        let samples = samples(&registry, 1);

        assert_eq!(samples.len(), 1);
        assert_eq!((samples[0].labels.metric(), samples[0].value), ("things_total", 3.0));
    }
}
