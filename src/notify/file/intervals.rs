//! `time_intervals`: names and numbers to the ranges that `interval` decides by.

use chrono_tz::Tz;

use super::fields::{Fields, Reading};
use super::node::Node;
use crate::notify::interval::{MinuteRange, Range, TimeInterval};

const WEEKDAYS: &[&str] =
    &["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];
const MONTHS: &[&str] = &[
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Reads one element of `time_intervals` below a name.
pub(super) fn interval(reading: &Reading, node: &Node) -> TimeInterval {
    let fields = Fields::of(reading, "a time interval", node);
    let interval = TimeInterval {
        times: times(&fields),
        weekdays: ranges(&fields, "weekdays", |text| named(text, WEEKDAYS, 0)),
        days_of_month: days(&fields),
        months: ranges(&fields, "months", |text| {
            number(text, 1, 12).or_else(|_| named(text, MONTHS, 1))
        }),
        years: ranges(&fields, "years", |text| number(text, 0, 9_999)),
        zone: zone(&fields),
    };
    fields.finish();
    interval
}

fn zone(fields: &Fields<'_, '_>) -> Tz {
    let Some(text) = fields.text("location") else { return Tz::UTC };
    if text == "Local" {
        let message = "`Local` is not supported, because it differs from machine to machine: \
                       name the zone, such as America/Chicago";
        fields.wrong("location", message);
        return Tz::UTC;
    }
    text.parse().unwrap_or_else(|_| {
        let message = format!("`{text}` is not a time zone such as UTC or America/Chicago");
        fields.wrong("location", message);
        Tz::UTC
    })
}

fn times(fields: &Fields<'_, '_>) -> Vec<MinuteRange> {
    let mut ranges = Vec::new();
    for node in fields.list("times") {
        let range = Fields::of(fields.reading, "a range of `times`", node);
        let start = minute(&range, "start_time");
        let end = minute(&range, "end_time");
        match (start, end) {
            (Some(start), Some(end)) if start < end => ranges.push((start, end)),
            (Some(_), Some(_)) => {
                range.wrong("end_time", "must be later than `start_time`; a night is two ranges");
            }
            _ => {}
        }
        range.finish();
    }
    ranges
}

fn minute(fields: &Fields<'_, '_>, key: &'static str) -> Option<u32> {
    let Some(text) = fields.text(key) else {
        fields.wrong(key, "is missing");
        return None;
    };
    let minute = clock_minute(text);
    if minute.is_none() {
        fields.wrong(key, format!("`{text}` is not a time such as 08:30 or 24:00"));
    }
    minute
}

fn clock_minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let is_number = |part: &str| part.len() == 2 && part.bytes().all(|c| c.is_ascii_digit());
    if !is_number(hour) || !is_number(minute) {
        return None;
    }
    let (hour, minute): (u32, u32) = (hour.parse().ok()?, minute.parse().ok()?);
    let all = hour * 60 + minute;
    (minute < 60 && all <= 24 * 60).then_some(all)
}

fn ranges(
    fields: &Fields<'_, '_>,
    key: &'static str,
    value: impl Fn(&str) -> Result<i32, String>,
) -> Vec<Range> {
    let mut found = unordered(fields, key, value);
    found.retain(|((first, last), text)| in_order(fields, key, text, first <= last));
    found.into_iter().map(|(range, _)| range).collect()
}

fn in_order(fields: &Fields<'_, '_>, key: &str, text: &str, is_right: bool) -> bool {
    if !is_right {
        fields.wrong(key, format!("`{text}` ends before it begins"));
    }
    is_right
}

/// Both ends may be negative, and may not change sides.
fn days(fields: &Fields<'_, '_>) -> Vec<Range> {
    let day = |text: &str| match number(text, -31, 31)? {
        0 => {
            Err("there is no day 0; days are 1 to 31, or -1 to -31 from the month's end".to_owned())
        }
        day => Ok(day),
    };
    let mut found = unordered(fields, "days_of_month", day);
    found.retain(|(range, text)| {
        let &(first, last) = range;
        let is_right = if (first < 0) == (last < 0) { first <= last } else { first > 0 };
        in_order(fields, "days_of_month", text, is_right)
    });
    found.into_iter().map(|(range, _)| range).collect()
}

fn unordered(
    fields: &Fields<'_, '_>,
    key: &'static str,
    value: impl Fn(&str) -> Result<i32, String>,
) -> Vec<(Range, String)> {
    let mut found = Vec::new();
    for text in fields.texts(key) {
        let lower = text.to_lowercase();
        let (first, last) = lower.split_once(':').unwrap_or((&lower, &lower));
        match (value(first.trim()), value(last.trim())) {
            (Ok(first), Ok(last)) => found.push(((first, last), text.to_owned())),
            (Err(error), _) | (_, Err(error)) => fields.wrong(key, error),
        }
    }
    found
}

fn number(text: &str, min: i32, max: i32) -> Result<i32, String> {
    let number: Option<i32> = text.parse().ok();
    number
        .filter(|number| (min..=max).contains(number))
        .ok_or_else(|| format!("`{text}` is not a number from {min} to {max}"))
}

fn named(text: &str, names: &[&str], first: i32) -> Result<i32, String> {
    let found = names.iter().position(|name| *name == text);
    let idx = found.and_then(|idx| i32::try_from(idx).ok());
    idx.map(|idx| idx + first).ok_or_else(|| format!("`{text}` is not one of {}", names.join(", ")))
}
