//! Spans of time that come again: working hours, weekends, the first three days of a month.
//!
//! Pure: a time goes in, yes or no comes out. Each part of an interval that says anything must hold;
//! an interval that says nothing always does. Times are those of the interval's zone, UTC unless it
//! names another, and days and hours are cut where that zone's clock cuts them, summer time included.

use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use chrono_tz::Tz;

/// Minutes since midnight, half-open; the end may be 24:00.
pub(super) type MinuteRange = (u32, u32);
/// Both ends included.
pub(super) type Range = (i32, i32);

/// One span of time.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct TimeInterval {
    pub(super) times: Vec<MinuteRange>,
    /// Sunday is 0.
    pub(super) weekdays: Vec<Range>,
    /// From 1; negative ones count from the month's end.
    pub(super) days_of_month: Vec<Range>,
    pub(super) months: Vec<Range>,
    pub(super) years: Vec<Range>,
    pub(super) zone: Tz,
}

impl Default for TimeInterval {
    fn default() -> Self {
        Self {
            times: Vec::new(),
            weekdays: Vec::new(),
            days_of_month: Vec::new(),
            months: Vec::new(),
            years: Vec::new(),
            zone: Tz::UTC,
        }
    }
}

impl TimeInterval {
    /// Returns true when the time, ms since 1970 UTC, lies within.
    pub(super) fn contains(&self, time_ms: i64) -> bool {
        let Some(utc) = DateTime::from_timestamp_millis(time_ms) else {
            return false;
        };
        let local = utc.with_timezone(&self.zone);
        let minute = local.hour() * 60 + local.minute();
        let weekday = i32::try_from(local.weekday().num_days_from_sunday()).unwrap_or(0);
        let month = i32::try_from(local.month()).unwrap_or(0);
        holds(&self.times, |&(start, end)| start <= minute && minute < end)
            && holds(&self.weekdays, within(weekday))
            && holds(&self.months, within(month))
            && holds(&self.years, within(local.year()))
            && holds(&self.days_of_month, |&range| day_within(range, local.date_naive()))
    }
}

fn holds<T>(ranges: &[T], test: impl Fn(&T) -> bool) -> bool {
    ranges.is_empty() || ranges.iter().any(test)
}

fn within(value: i32) -> impl Fn(&Range) -> bool {
    move |&(first, last)| first <= value && value <= last
}

fn day_within((first, last): Range, date: NaiveDate) -> bool {
    let n_days = i32::from(date.num_days_in_month());
    let from_start = |day: i32| if day < 0 { n_days + day + 1 } else { day };
    let day = i32::try_from(date.day()).unwrap_or(0);
    let (first, last) = (from_start(first), from_start(last));
    // The 31st of a month with 30 days is not its 30th.
    first <= n_days && first.max(1) <= day && day <= last.min(n_days)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(interval: &TimeInterval, time: &str, want: bool) {
        let time_ms = DateTime::parse_from_rfc3339(time).unwrap().timestamp_millis();
        assert_eq!(interval.contains(time_ms), want, "{time}");
    }

    #[test]
    fn an_interval_that_says_nothing_always_holds() {
        check(&TimeInterval::default(), "2026-11-21T12:00:00Z", true);
    }

    #[test]
    fn hours_are_half_open() {
        let office = TimeInterval { times: vec![(9 * 60, 17 * 60)], ..TimeInterval::default() };
        check(&office, "2026-11-21T08:59:59Z", false);
        check(&office, "2026-11-21T09:00:00Z", true);
        check(&office, "2026-11-21T16:59:59Z", true);
        check(&office, "2026-11-21T17:00:00Z", false);
    }

    #[test]
    fn hours_follow_the_zones_summer_time() {
        let times = vec![(9 * 60, 17 * 60)];
        let chicago = TimeInterval { times, zone: Tz::America__Chicago, ..TimeInterval::default() };
        check(&chicago, "2026-07-01T14:00:00Z", true); // 09:00 in summer
        check(&chicago, "2026-12-01T14:00:00Z", false); // 08:00 in winter
        check(&chicago, "2026-12-01T15:00:00Z", true);
    }

    #[test]
    fn days_are_those_of_the_zone() {
        let weekdays = vec![(1, 5)];
        let tokyo = TimeInterval { weekdays, zone: Tz::Asia__Tokyo, ..TimeInterval::default() };
        check(&tokyo, "2026-11-20T14:59:00Z", true); // Friday 23:59
        check(&tokyo, "2026-11-20T15:00:00Z", false); // Saturday 00:00
    }

    #[test]
    fn days_of_a_month_count_from_either_end() {
        let month_end = TimeInterval { days_of_month: vec![(-3, -1)], ..TimeInterval::default() };
        check(&month_end, "2026-02-25T00:00:00Z", false);
        check(&month_end, "2026-02-26T00:00:00Z", true);
        check(&month_end, "2026-02-28T23:59:00Z", true);
        let late = TimeInterval { days_of_month: vec![(31, 31)], ..TimeInterval::default() };
        check(&late, "2026-11-30T00:00:00Z", false);
        check(&late, "2026-12-31T00:00:00Z", true);
    }

    #[test]
    fn every_part_must_hold() {
        let part = TimeInterval {
            months: vec![(6, 8), (12, 12)],
            years: vec![(2026, 2027)],
            ..TimeInterval::default()
        };
        check(&part, "2026-07-01T00:00:00Z", true);
        check(&part, "2027-12-01T00:00:00Z", true);
        check(&part, "2028-07-01T00:00:00Z", false);
        check(&part, "2026-09-01T00:00:00Z", false);
    }
}
