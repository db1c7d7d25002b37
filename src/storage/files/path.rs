//! Where a file lies: `parquet/<signal>/commons=<name>/date=<YYYY-MM-DD>/<generation>-<n>.parquet`.

use chrono::NaiveDate;

use crate::model::{Commons, Signal};

/// The folder of all files.
pub const DIR: &str = "parquet";
/// ms in a day.
pub const DAY_MS: i64 = 86_400_000;
/// ns in a day.
pub const DAY_NS: i64 = DAY_MS * 1_000_000;

/// Returns the day of a time, in days since 1970 UTC.
pub fn day_of_ms(ms: i64) -> i32 {
    i32::try_from(ms.div_euclid(DAY_MS)).unwrap_or(if ms < 0 { i32::MIN } else { i32::MAX })
}

/// Returns the day of a time, in days since 1970 UTC.
pub fn day_of_ns(ns: i64) -> i32 {
    i32::try_from(ns.div_euclid(DAY_NS)).expect("ns of 64 bits span 584 years")
}

/// Returns the folder of one commons and day.
pub fn dir(signal: Signal, commons: &Commons, day: i32) -> String {
    let date = NaiveDate::from_epoch_days(day).unwrap_or(NaiveDate::MAX);
    format!("{DIR}/{signal}/commons={commons}/date={}", date.format("%Y-%m-%d"))
}

/// Returns a file's path; names sort by generation.
pub fn file(signal: Signal, commons: &Commons, day: i32, generation: u64, n: usize) -> String {
    format!("{}/{generation:016x}-{n}.parquet", dir(signal, commons, day))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_hive_style() {
        let path = file(
            Signal::Logs,
            &Commons::new("heart").unwrap(),
            day_of_ms(1_700_000_000_000),
            26,
            0,
        );

        assert_eq!(path, "parquet/logs/commons=heart/date=2023-11-14/000000000000001a-0.parquet");
    }

    #[test]
    fn times_before_1970_have_a_day() {
        assert_eq!((day_of_ms(-1), day_of_ns(-1), day_of_ms(0)), (-1, -1, 0));
        assert!(dir(Signal::Spans, &Commons::own(), -1).ends_with("date=1969-12-31"));
    }
}
