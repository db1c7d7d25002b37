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

/// Returns the path of a file that takes the place of `inputs`, which lie in one folder:
/// `<first generation>-<last generation>-<n>.parquet`, or `None` when they are not files of ours.
pub fn merged(inputs: &[String]) -> Option<String> {
    let spans: Option<Vec<_>> = inputs.iter().map(|path| span(path)).collect();
    let spans = spans?;
    let first = spans.iter().map(|(first, ..)| first).min()?;
    let last = spans.iter().map(|(_, last, _)| last).max()?;
    let (folder, _) = inputs.first()?.rsplit_once('/')?;
    let n = spans[0].2;
    Some(format!("{folder}/{first:016x}-{last:016x}-{n}.parquet"))
}

/// Returns the first and the last generation in a file, by its name, and its number among those of
/// its generation.
fn span(path: &str) -> Option<(u64, u64, usize)> {
    let name = path.rsplit('/').next()?.strip_suffix(".parquet")?;
    let parts: Vec<&str> = name.split('-').collect();
    let generation = |text: &str| u64::from_str_radix(text, 16).ok();
    match parts[..] {
        [generation_text, n] => {
            let generation = generation(generation_text)?;
            Some((generation, generation, n.parse().ok()?))
        }
        [first, last, n] => Some((generation(first)?, generation(last)?, n.parse().ok()?)),
        _ => None,
    }
}

/// Returns true for the name of a merged file.
pub fn is_merged(path: &str) -> bool {
    span(path).is_some()
        && path.rsplit('/').next().is_some_and(|name| name.matches('-').count() == 2)
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
    fn a_merged_file_is_named_by_its_generations() {
        let paths =
            |names: &[&str]| names.iter().map(|n| format!("d/{n}.parquet")).collect::<Vec<_>>();

        let merged_once = merged(&paths(&["0a-1", "0b-1", "10-1"])).unwrap();
        assert_eq!(merged_once, "d/000000000000000a-0000000000000010-1.parquet");
        assert!(is_merged(&merged_once) && !is_merged("a-b/0a-1.parquet"));
        assert!(!is_merged(&format!("{merged_once}.tmp")));
        let merged_twice = merged(&[merged_once, "d/11-1.parquet".to_owned()]).unwrap();
        assert_eq!(merged_twice, "d/000000000000000a-0000000000000011-1.parquet");
        assert_eq!(merged(&paths(&["x-1"])), None);
    }

    #[test]
    fn times_before_1970_have_a_day() {
        assert_eq!((day_of_ms(-1), day_of_ns(-1), day_of_ms(0)), (-1, -1, 0));
        assert!(dir(Signal::Spans, &Commons::own(), -1).ends_with("date=1969-12-31"));
    }
}
