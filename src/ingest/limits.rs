//! Every limit at the door, by name.
//!
//! A limit that is hit is always a counter (`commonwatch_ingest_refused_*`) and a message that
//! names the key below and the number; nothing is cut or dropped in silence. The defaults follow
//! what Prometheus, Mimir and Loki take, a little more generous.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::base::units::{HumanDuration, HumanSize};

/// The `[limits]` section; what questions may cost stands in `[query]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Largest request body as it comes over the wire.
    pub body_encoded: HumanSize,
    /// Largest request body after decompression.
    pub body_decoded: HumanSize,
    /// How many times larger than on the wire a body may become, once it passes `body_ratio_above`.
    pub body_ratio: u32,
    /// Decoded size from which `body_ratio` counts; small bodies may compress as well as they like.
    pub body_ratio_above: HumanSize,
    /// How long a client may take to send its body.
    pub body_read: HumanDuration,
    /// Samples, log records or spans in one request.
    pub records_per_request: usize,
    /// Labels of one series, those that tagging adds not counted.
    pub labels_per_series: usize,
    /// Bytes of one label's name.
    pub label_name: HumanSize,
    /// Bytes of one label's value.
    pub label_value: HumanSize,
    /// Attributes of one log record, span or data point.
    pub attributes_per_record: usize,
    /// Bytes of one attribute's value.
    pub attribute_value: HumanSize,
    /// Symbols of one remote-write 2.0 request.
    pub symbols_per_request: usize,
    /// Bytes of all labels of one exemplar.
    pub exemplar_labels: HumanSize,
    /// Exemplars of one series that are kept in a minute.
    pub exemplars_per_minute_per_series: u32,
    /// Exemplars of one commons that are kept in a minute.
    pub exemplars_per_minute_per_commons: u32,
    /// Descriptions of metrics kept of one commons; `storage` enforces it.
    pub descriptions_per_commons: usize,
    /// Buckets of one histogram, and quantiles of one summary.
    pub buckets_per_point: usize,
    /// Bytes of one log line.
    pub log_line: HumanSize,
    /// Lists and maps inside each other in one attribute.
    pub attribute_depth: usize,
    /// How far ahead of our clock a timestamp may be.
    pub future: HumanDuration,
    /// Requests of logs and traces that are known when they come again within ten minutes; 0 knows none.
    pub known_pushes: usize,
    /// Commons that senders have named, by whatever rule; what is of another one is refused.
    pub commons: usize,
    /// Active series of one commons; `storage` enforces it.
    pub series_per_commons: usize,
    /// Active series of one metric of a commons; `storage` enforces it.
    pub series_per_metric: usize,
    /// Series of one commons whose differences (delta temporality) are added up; `storage` enforces it.
    pub delta_series_per_commons: usize,
    /// Records of one commons in a second; 0 is no limit.
    pub records_per_second_per_commons: u64,
    /// Records of one commons that may come at once; 0 is four seconds' worth.
    pub records_burst_per_commons: u64,
    /// Bytes of all requests under way, encoded and decoded.
    pub bytes_in_flight: HumanSize,
    /// The same for the requests of one credential.
    pub bytes_in_flight_per_credential: HumanSize,
    /// How long the requests under way may take before newcomers are refused; 0 is no limit.
    pub answer_within: HumanDuration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_encoded: HumanSize::from_mib(16),
            body_decoded: HumanSize::from_mib(32),
            body_ratio: 64,
            body_ratio_above: HumanSize::from_mib(1),
            body_read: HumanDuration::from_secs(30),
            records_per_request: 100_000,
            labels_per_series: 40,
            label_name: HumanSize(1_024),
            label_value: HumanSize(2_048),
            attributes_per_record: 128,
            attribute_value: HumanSize(16 << 10),
            symbols_per_request: 500_000,
            exemplar_labels: HumanSize(1_024),
            exemplars_per_minute_per_series: 60,
            exemplars_per_minute_per_commons: 60_000,
            descriptions_per_commons: 20_000,
            buckets_per_point: 2_000,
            log_line: HumanSize(256 << 10),
            attribute_depth: 32,
            future: HumanDuration::from_secs(600),
            known_pushes: 131_072,
            commons: 1_000,
            series_per_commons: 500_000,
            series_per_metric: 50_000,
            delta_series_per_commons: 100_000,
            records_per_second_per_commons: 0,
            records_burst_per_commons: 0,
            bytes_in_flight: HumanSize::from_mib(256),
            bytes_in_flight_per_credential: HumanSize::from_mib(64),
            answer_within: HumanDuration(Duration::from_millis(500)),
        }
    }
}

/// The timestamps that are taken at one moment; both ends are inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeBounds {
    /// The oldest, ns since 1970 UTC; `i64::MIN` when everything is kept.
    pub min_ns: i64,
    /// The newest, ns since 1970 UTC.
    pub max_ns: i64,
}

/// Where a timestamp lies that [`TimeBounds`] does not take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfBounds {
    /// Past the retention: it would be removed at once.
    Past,
    /// Further ahead than clocks differ.
    Future,
}

impl OutOfBounds {
    /// Returns the end of a sentence that began with the timestamp.
    pub fn explanation(self) -> &'static str {
        match self {
            OutOfBounds::Past => "is older than the retention (storage.retention)",
            OutOfBounds::Future => "is further ahead of the server's clock than limits.future",
        }
    }
}

impl TimeBounds {
    /// Returns the bounds at the times by which something is too old, and too far ahead, ns since 1970 UTC;
    /// no retention keeps everything.
    pub fn at(
        (aging_ns, ahead_ns): (i64, i64),
        future: HumanDuration,
        retention_ms: Option<i64>,
    ) -> Self {
        let to_ns = |ms: i64| ms.saturating_mul(1_000_000);
        Self {
            min_ns: retention_ms.map_or(i64::MIN, |ms| aging_ns.saturating_sub(to_ns(ms))),
            max_ns: ahead_ns.saturating_add(to_ns(future.as_ms())),
        }
    }

    /// Returns the same bounds in ms, rounded inwards: what is within them fits in ns.
    pub fn in_ms(self) -> (i64, i64) {
        let rounds_up = self.min_ns.rem_euclid(1_000_000) != 0;
        let min_ms = self.min_ns.div_euclid(1_000_000) + i64::from(rounds_up);
        (min_ms, self.max_ns.div_euclid(1_000_000))
    }

    /// Tells why a time in ns is not taken.
    #[inline]
    pub fn check_ns(self, time_ns: i64) -> Result<(), OutOfBounds> {
        if time_ns > self.max_ns {
            Err(OutOfBounds::Future)
        } else if time_ns < self.min_ns {
            Err(OutOfBounds::Past)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_by_name() {
        let limits: Limits =
            toml::from_str("body_decoded = \"64MiB\"\nfuture = \"1h\"\nlabels_per_series = 60")
                .unwrap();

        assert_eq!(limits.body_decoded, HumanSize::from_mib(64));
        assert_eq!(limits.future.as_ms(), 3_600_000);
        assert_eq!(limits.labels_per_series, 60);
        assert_eq!(limits.body_encoded, Limits::default().body_encoded);
    }

    #[test]
    fn a_limit_that_does_not_exist_is_an_error() {
        assert!(toml::from_str::<Limits>("labels_per_serie = 60").is_err());
    }

    #[test]
    fn time_bounds_are_inclusive() {
        let now = (1_000_000_000, 1_000_000_000);
        let bounds = TimeBounds::at(now, HumanDuration::from_secs(1), Some(500));

        assert_eq!(bounds.check_ns(2_000_000_000), Ok(()));
        assert_eq!(bounds.check_ns(2_000_000_001), Err(OutOfBounds::Future));
        assert_eq!(bounds.check_ns(500_000_000), Ok(()));
        assert_eq!(bounds.check_ns(499_999_999), Err(OutOfBounds::Past));
    }

    #[test]
    fn bounds_in_ms_round_inwards() {
        let bounds = TimeBounds { min_ns: i64::MIN, max_ns: 1_999_999 };
        let (min_ms, max_ms) = bounds.in_ms();

        assert!(
            min_ms.checked_mul(1_000_000).is_some()
                && (min_ms - 1).checked_mul(1_000_000).is_none()
        );
        assert_eq!(max_ms, 1);
        assert_eq!(TimeBounds { min_ns: -1, max_ns: 0 }.in_ms(), (0, 0));
        assert_eq!(TimeBounds { min_ns: -2_000_000, max_ns: -1 }.in_ms(), (-2, -1));
    }

    #[test]
    fn without_retention_no_time_is_too_old() {
        let bounds = TimeBounds::at((0, 0), HumanDuration::from_secs(1), None);

        assert_eq!(bounds.check_ns(i64::MIN), Ok(()));
        assert_eq!(bounds.check_ns(i64::MAX), Err(OutOfBounds::Future));
    }
}
