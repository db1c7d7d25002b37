//! OpenTelemetry names become Prometheus names: `UnderscoreEscapingWithSuffixes`, Prometheus'
//! default, step by step as its translator does it (prometheus/otlptranslator 1.0).

use std::borrow::Cow;

use crate::ingest::otlp::config::Strategy;
use crate::ingest::outcome::{Reason, Refusal};
use crate::model::MetricKind;

use super::super::json_text::cut;

/// Returns the name of a metric by a strategy, without the suffixes of its parts (`_bucket`, …).
pub(super) fn metric_name(
    name: &str,
    unit: &str,
    kind: MetricKind,
    strategy: Strategy,
) -> Result<String, Refusal> {
    match (strategy.escapes(), strategy.has_suffixes()) {
        (true, true) => escaped_name(name, unit, kind),
        // Without a unit and a kind there is nothing to append.
        (true, false) => escaped_name(name, "", MetricKind::Unknown),
        (false, _) if name.is_empty() => escaped_name(name, unit, kind),
        (false, false) => Ok(name.to_owned()),
        (false, true) => Ok(suffixed_name(name, unit, kind)),
    }
}

/// Appends unit and type to a name that stays as it is.
fn suffixed_name(name: &str, unit: &str, kind: MetricKind) -> String {
    let (main, per) = unit_words(unit);
    let mut full = name.to_owned();
    for word in
        [main.to_string(), if per.is_empty() { String::new() } else { format!("per_{per}") }]
    {
        if !word.is_empty() && !full.ends_with(&word) {
            full.push('_');
            full.push_str(&word);
        }
    }
    if kind == MetricKind::Counter {
        full = format!("{}_total", full.strip_suffix("_total").unwrap_or(&full));
    }
    if unit == "1" && kind == MetricKind::Gauge {
        full = format!("{}_ratio", full.strip_suffix("_ratio").unwrap_or(&full));
    }
    full
}

fn escaped_name(name: &str, unit: &str, kind: MetricKind) -> Result<String, Refusal> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == ':';
    let mut tokens: Vec<&str> =
        name.split(|c| !is_valid(c)).filter(|token| !token.is_empty()).collect();
    let (main, per) = unit_words(unit);
    let (main, per) = (clean(&main), clean(&per));
    push_unit(&mut tokens, &main, &per);
    if kind == MetricKind::Counter {
        tokens.retain(|token| *token != "total");
        tokens.push("total");
    }
    if unit == "1" && kind == MetricKind::Gauge {
        tokens.retain(|token| *token != "ratio");
        tokens.push("ratio");
    }
    let joined = tokens.join("_");
    if !name.contains(is_valid) {
        let message = format!("metric `{}` has no name that Prometheus could show", cut(name));
        return Err(Refusal::new(Reason::NoMetricName, message));
    }
    let starts_with_digit = joined.starts_with(|c: char| c.is_ascii_digit());
    Ok(if starts_with_digit { format!("_{joined}") } else { joined })
}

fn push_unit<'a>(tokens: &mut Vec<&'a str>, main: &'a str, per: &'a str) {
    let needs = |tokens: &[&str], word: &str| !word.is_empty() && !tokens.contains(&word);
    // Both are judged by the name alone, before either is appended.
    let (push_main, push_per) = (needs(tokens, main), needs(tokens, per));
    if push_main {
        tokens.push(main.strip_suffix('_').filter(|_| push_per).unwrap_or(main));
    }
    if push_per {
        tokens.extend(["per", per]);
    }
}

/// Takes a UCUM unit apart: `By/s` is (`bytes`, `second`); annotations in braces say nothing.
fn unit_words(unit: &str) -> (Cow<'_, str>, Cow<'_, str>) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let known = |text: &'_ str, word: fn(&str) -> Option<&'static str>| match word(text) {
        _ if text.contains(['{', '}']) => String::new(),
        Some(word) => word.to_owned(),
        None => text.to_owned(),
    };
    (known(main.trim(), unit_word).into(), known(per.trim(), per_unit_word).into())
}

fn unit_word(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "d" => "days",
        "h" => "hours",
        "min" => "minutes",
        "s" => "seconds",
        "ms" => "milliseconds",
        "us" => "microseconds",
        "ns" => "nanoseconds",
        "By" => "bytes",
        "KiBy" => "kibibytes",
        "MiBy" => "mebibytes",
        "GiBy" => "gibibytes",
        // The specification's tables say `kBy` and `tebibytes`, Prometheus says these.
        "TiBy" => "tibibytes",
        "KBy" | "kBy" => "kilobytes",
        "MBy" => "megabytes",
        "GBy" => "gigabytes",
        "TBy" => "terabytes",
        "m" => "meters",
        "V" => "volts",
        "A" => "amperes",
        "J" => "joules",
        "W" => "watts",
        "g" => "grams",
        "Cel" => "celsius",
        "Hz" => "hertz",
        "1" => "",
        "%" => "percent",
        _ => return None,
    })
}

fn per_unit_word(unit: &str) -> Option<&'static str> {
    Some(match unit {
        "s" => "second",
        "m" => "minute",
        "h" => "hour",
        "d" => "day",
        "w" => "week",
        "mo" => "month",
        "y" => "year",
        _ => return None,
    })
}

/// Replaces what a name cannot hold, collapses underscores and takes a leading one away.
fn clean(unit: &str) -> String {
    let mut text = String::with_capacity(unit.len());
    for c in unit.chars() {
        let c = if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' };
        if c != '_' || !text.ends_with('_') {
            text.push(c);
        }
    }
    text.strip_prefix('_').map(str::to_owned).unwrap_or(text)
}

/// Returns the Prometheus name of a label, or `None` when nothing of it is left.
///
/// Repeated underscores stay, as in Prometheus; the OpenTelemetry specification would collapse
/// them.
pub(super) fn label_name(key: &str, strategy: Strategy) -> Option<String> {
    if !strategy.escapes() {
        return (!key.is_empty()).then(|| key.to_owned());
    }
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name: String = key.chars().map(|c| if is_valid(c) { c } else { '_' }).collect();
    if name.bytes().all(|byte| byte == b'_') {
        return None;
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        return Some(format!("key_{name}"));
    }
    if name.starts_with('_') && !name.starts_with("__") {
        return Some(format!("key{name}"));
    }
    Some(name)
}

/// Writes a bucket's bound or a quantile as Prometheus does: shortest digits, no exponent.
pub(super) fn bound_text(bound: f64) -> String {
    if bound == f64::INFINITY { "+Inf".to_owned() } else { bound.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, unit: &str, kind: MetricKind, want: &str) {
        assert_eq!(
            metric_name(name, unit, kind, Strategy::default()).unwrap(),
            want,
            "{name} in {unit}"
        );
    }

    /// Cases of prometheus/otlptranslator's `metric_namer_test.go`.
    #[test]
    fn names_follow_prometheus() {
        let (gauge, counter, other) =
            (MetricKind::Gauge, MetricKind::Counter, MetricKind::UpDownCounter);
        check("system.filesystem.usage", "By", gauge, "system_filesystem_usage_bytes");
        check("system.network.dropped", "{packets}", gauge, "system_network_dropped");
        check("system.network.dropped", "packets", gauge, "system_network_dropped_packets");
        check("system.io", "foo/bar", gauge, "system_io_foo_per_bar");
        check("system.network.io", "By/s", counter, "system_network_io_bytes_per_second_total");
        check(
            "active_directory.ds.replication.network.io",
            "By",
            counter,
            "active_directory_ds_replication_network_io_bytes_total",
        );
        check(
            "nsxt.node.network.packet.count",
            "packets",
            gauge,
            "nsxt_node_network_packet_count_packets",
        );
        check("redis.latest_fork", "us", gauge, "redis_latest_fork_microseconds");
        check("hw.gpu.memory.utilization", "1", gauge, "hw_gpu_memory_utilization_ratio");
        check("rabbitmq.message.total.current", "1", counter, "rabbitmq_message_current_total");
        check("process.cpu.time", "s", counter, "process_cpu_time_seconds_total");
        check(
            "http.server.duration",
            "ms",
            MetricKind::Histogram,
            "http_server_duration_milliseconds",
        );
        check("a_metric_seconds", "s", gauge, "a_metric_seconds");
        check("3.14.foo", "", gauge, "_3_14_foo");
        check("a__b..c", "", other, "a_b_c");
        check("broken", "$/invalid", gauge, "broken_per_invalid");
        check("speed", "m/h", gauge, "speed_meters_per_hour");
        check("kept:as:is", "", gauge, "kept:as:is");
        check("fits", "kBy", gauge, "fits_kilobytes");
        check("unwanted.ratio", "1", gauge, "unwanted_ratio");
        check("not.a.gauge", "1", other, "not_a_gauge");
    }

    #[test]
    fn names_that_stay_get_suffixes_or_not() {
        let name = |strategy| {
            let unit = "By/s";
            metric_name("net.io", unit, MetricKind::Counter, strategy).unwrap()
        };
        assert_eq!(name(Strategy::NoTranslation), "net.io");
        assert_eq!(name(Strategy::NoUTF8EscapingWithSuffixes), "net.io_bytes_per_second_total");
        assert_eq!(name(Strategy::UnderscoreEscapingWithoutSuffixes), "net_io");
        assert!(metric_name("", "", MetricKind::Gauge, Strategy::NoTranslation).is_err());
        assert_eq!(label_name("a.b", Strategy::NoTranslation).as_deref(), Some("a.b"));
    }

    #[test]
    fn a_name_of_which_nothing_is_left_is_refused() {
        for name in ["", "_", "...", "é"] {
            let refusal =
                metric_name(name, "s", MetricKind::Counter, Strategy::default()).unwrap_err();
            assert_eq!(refusal.reason, Reason::NoMetricName, "{name}");
        }
    }

    #[test]
    fn labels_follow_prometheus() {
        for (key, want) in [
            ("http.method", Some("http_method")),
            ("a..b", Some("a__b")),
            ("1st", Some("key_1st")),
            ("_hidden", Some("key_hidden")),
            ("__name__", Some("__name__")),
            ("é", None),
            ("", None),
            ("...", None),
        ] {
            assert_eq!(label_name(key, Strategy::default()).as_deref(), want, "{key}");
        }
    }

    #[test]
    fn bounds_have_no_exponent() {
        for (bound, want) in [(0.005, "0.005"), (1.0, "1"), (1e21, "1000000000000000000000")] {
            assert_eq!(bound_text(bound), want);
        }
        assert_eq!(bound_text(f64::INFINITY), "+Inf");
    }
}
