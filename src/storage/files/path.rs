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
/// `<first generation>-<last generation>-<n>.parquet`, and with `-<how often>` behind it when it takes
/// the place of one file alone, or of one of that very name; or `None` when they are not files of ours.
pub fn merged(inputs: &[String]) -> Option<String> {
    let spans: Option<Vec<_>> = inputs.iter().map(|path| span(path)).collect();
    let spans = spans?;
    let first = spans.iter().map(|span| span.first).min()?;
    let last = spans.iter().map(|span| span.last).max()?;
    let (folder, _) = inputs.first()?.rsplit_once('/')?;
    let n = spans[0].n;
    // A path is never used for two contents. Parts of one generation that were merged cover no more
    // than that generation, however many of them there are.
    let is_taken =
        |span: &&Span| span.is_merged && (span.first, span.last, span.n) == (first, last, n);
    let taken = spans.iter().filter(is_taken).map(|span| span.n_times).max();
    let n_times = match spans.as_slice() {
        [alone] => Some(alone.n_times + 1),
        _ => taken.map(|n_times| n_times + 1),
    };
    let again = n_times.map(|n_times| format!("-{n_times}")).unwrap_or_default();
    Some(format!("{folder}/{first:016x}-{last:016x}-{n}{again}.parquet"))
}

/// What a file's name says.
struct Span {
    /// The first generation in it.
    first: u64,
    /// The last.
    last: u64,
    /// Its number among the files of its generation.
    n: usize,
    /// How often it was written anew.
    n_times: u64,
    /// Whether it took the place of others.
    is_merged: bool,
}

fn span(path: &str) -> Option<Span> {
    let name = path.rsplit('/').next()?.strip_suffix(".parquet")?;
    let parts: Vec<&str> = name.split('-').collect();
    let generation = |text: &str| u64::from_str_radix(text, 16).ok();
    match parts[..] {
        [generation_text, n] => {
            let generation = generation(generation_text)?;
            Some(Span {
                first: generation,
                last: generation,
                n: n.parse().ok()?,
                n_times: 0,
                is_merged: false,
            })
        }
        [first, last, n, ref again @ ..] if again.len() <= 1 => Some(Span {
            first: generation(first)?,
            last: generation(last)?,
            n: n.parse().ok()?,
            n_times: again.first().map_or(Some(0), |again| again.parse().ok())?,
            is_merged: true,
        }),
        _ => None,
    }
}

/// Returns the generation of a file that a flush wrote, or `None` when it took the place of others or
/// is none of ours.
pub fn flushed_generation(path: &str) -> Option<u64> {
    span(path).filter(|span| !span.is_merged).map(|span| span.first)
}

/// Returns true for the name of a file that took the place of others.
pub fn is_merged(path: &str) -> bool {
    span(path).is_some_and(|span| span.is_merged)
}

/// Returns true for a path that a store of ours gives to a file, and for no other.
pub fn is_ours(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let [DIR, signal, commons, date, _] = parts[..] else { return false };
    let day = date
        .strip_prefix("date=")
        .and_then(|text| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok());
    let commons = commons.strip_prefix("commons=").and_then(|name| Commons::from_stored(name).ok());
    let signal = Signal::ALL.into_iter().find(|known| known.as_str() == signal);
    let (Some(day), Some(commons), Some(signal)) = (day, commons, signal) else { return false };
    path.rsplit_once('/')
        .is_some_and(|(folder, _)| folder == dir(signal, &commons, day.to_epoch_days()))
        && span(path).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_give_are_ours() {
        let folder = "parquet/logs/commons=heart.example/date=2026-11-21";
        for name in ["000000000000000a-0", "0a-0", "0a-10-0", "0a-0a-0-3"] {
            assert!(is_ours(&format!("{folder}/{name}.parquet")), "{name}");
        }
        for theirs in [
            &format!("{folder}/part-00000.parquet"),
            &format!("{folder}/0a-0.parquet.tmp"),
            &format!("{folder}/x/0a-0.parquet"),
            "parquet/logs/commons=heart.example/date=2026-11-31/0a-0.parquet",
            "parquet/bills/commons=heart.example/date=2026-11-21/0a-0.parquet",
            "parquet/logs/commons=../date=2026-11-21/0a-0.parquet",
            "parquet/manifest.json",
            "0a-0.parquet",
        ] {
            assert!(!is_ours(theirs), "{theirs}");
        }
    }

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
    fn a_file_written_anew_has_a_new_name_each_time() {
        let mut path = "d/0a-1.parquet".to_owned();
        for expected in ["1-1", "1-2", "1-3"] {
            path = merged(&[path]).unwrap();
            assert_eq!(path, format!("d/000000000000000a-000000000000000a-{expected}.parquet"));
            assert!(is_merged(&path));
        }
        let merged = merged(&[path, "d/0b-1.parquet".to_owned()]).unwrap();
        assert_eq!(merged, "d/000000000000000a-000000000000000b-1.parquet");
    }

    #[test]
    fn parts_of_one_generation_are_merged_under_new_names() {
        let merge = |names: &[&str]| {
            let paths: Vec<_> = names.iter().map(|name| format!("d/{name}.parquet")).collect();
            merged(&paths).unwrap()
        };
        let one = "000000000000000a-000000000000000a";

        assert_eq!(merge(&["0a-0", "0a-1000"]), format!("d/{one}-0.parquet"));
        assert_eq!(merge(&["0a-1002", "0a-1004"]), format!("d/{one}-1002.parquet"));
        let (both, again) = ([format!("{one}-0"), format!("{one}-1002")], format!("{one}-0-1"));
        assert_eq!(merge(&both.each_ref().map(String::as_str)), format!("d/{again}.parquet"));
        assert_eq!(merge(&[&again, "0a-1006"]), format!("d/{one}-0-2.parquet"));
    }

    #[test]
    fn times_before_1970_have_a_day() {
        assert_eq!((day_of_ms(-1), day_of_ns(-1), day_of_ms(0)), (-1, -1, 0));
        assert!(dir(Signal::Spans, &Commons::own(), -1).ends_with("date=1969-12-31"));
    }
}
