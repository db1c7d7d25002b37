//! What is known of each metric of each commons: type, unit, help.
//!
//! It is small and changes seldom, so it is kept in memory whole. A change goes through the log like
//! rows do; before the log is cut, the whole is written to one file, in a rename. The file is one line
//! of JSON a metric and a last line with the CRC-32C of all before, in hex. Senders say these things
//! again and again, so a file that is damaged is put aside, and what it said comes back by itself.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crc32c::crc32c;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use super::disk::{self, Disk};
use crate::model::{Commons, Description, MetricKind, ReadScope};

/// Where they are.
pub const FILE: &str = "parquet/descriptions.json";
/// Descriptions of one commons, until `limits.descriptions_per_commons` is read from the
/// configuration.
pub const PER_COMMONS_MAX: usize = 20_000;

/// A metric and what is said of it.
pub type Described = (Arc<str>, Description);

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    description: Description,
    /// Days since 1970 UTC, when it was last said.
    said_on: i32,
}

/// All descriptions.
#[derive(Debug, Default)]
pub struct Descriptions {
    by_commons: RwLock<BTreeMap<Commons, HashMap<Arc<str>, Entry>>>,
    is_dirty: AtomicBool,
}

impl Descriptions {
    /// Returns true when this is not what is known already.
    pub fn is_news(&self, commons: &Commons, metric: &str, description: &Description) -> bool {
        let all = self.by_commons.read();
        let known = all.get(commons).and_then(|metrics| metrics.get(metric));
        known.is_none_or(|entry| entry.description != *description)
    }

    /// Takes descriptions of a commons over; where there are too many, those go that were not said
    /// for the longest time.
    pub fn take(&self, commons: &Commons, described: Vec<Described>, today: i32, max: usize) {
        let mut all = self.by_commons.write();
        let metrics = match all.get_mut(commons) {
            Some(metrics) => metrics,
            None => all.entry(commons.clone()).or_default(),
        };
        for (metric, description) in described {
            metrics.insert(metric, Entry { description, said_on: today });
        }
        if metrics.len() > max {
            let mut order: Vec<(i32, Arc<str>)> =
                metrics.iter().map(|(metric, entry)| (entry.said_on, Arc::clone(metric))).collect();
            order.sort_unstable();
            // Some more than must be, so that this is seldom done.
            let n_gone = metrics.len() - max + max / 16;
            order.iter().take(n_gone).for_each(|(_, metric)| drop(metrics.remove(metric)));
        }
        self.is_dirty.store(true, Ordering::Release);
    }

    /// Returns what is known of the metrics of all commons in the scope, by metric.
    pub fn all(&self, scope: &ReadScope) -> Vec<Described> {
        let all = self.by_commons.read();
        let in_scope = all.iter().filter(|(commons, _)| scope.covers(commons));
        let described = in_scope.flat_map(|(_, metrics)| metrics);
        let mut list: Vec<Described> = described
            .map(|(metric, entry)| (Arc::clone(metric), entry.description.clone()))
            .collect();
        list.sort_unstable();
        list.dedup();
        list
    }

    /// Returns what is known of one metric of a commons.
    pub fn get(&self, commons: &Commons, metric: &str) -> Option<Description> {
        let all = self.by_commons.read();
        Some(all.get(commons)?.get(metric)?.description.clone())
    }

    /// Writes them, if anything has changed since.
    pub fn write(&self, disk: &dyn Disk) -> std::io::Result<()> {
        if !self.is_dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let written = disk::replace_file(disk, FILE, self.text().as_bytes());
        if written.is_err() {
            self.is_dirty.store(true, Ordering::Release);
        }
        written
    }

    pub(super) fn text(&self) -> String {
        let all = self.by_commons.read();
        let mut text = String::new();
        for (commons, metrics) in all.iter() {
            let mut metrics: Vec<_> = metrics.iter().collect();
            metrics.sort_unstable_by_key(|(metric, _)| Arc::clone(metric));
            for (metric, Entry { description, said_on }) in metrics {
                let line = Line {
                    commons: commons.clone(),
                    metric: metric.to_string(),
                    kind: description.kind.as_str().to_owned(),
                    unit: description.unit.to_string(),
                    help: description.help.to_string(),
                    said_on: *said_on,
                };
                text.push_str(&serde_json::to_string(&line).expect("plain values have JSON"));
                text.push('\n');
            }
        }
        let crc = crc32c(text.as_bytes());
        text.push_str(&format!("{crc:08x}\n"));
        text
    }

    /// Reads them back; `Err` says what is wrong with the file.
    pub fn read(disk: &dyn Disk) -> std::io::Result<Result<Self, String>> {
        match disk.read(FILE) {
            Ok(bytes) => Ok(parse(&bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Ok(Self::default())),
            Err(error) => Err(error),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Line {
    commons: Commons,
    metric: String,
    kind: String,
    unit: String,
    help: String,
    said_on: i32,
}

pub(super) fn parse(bytes: &[u8]) -> Result<Descriptions, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| "not UTF-8".to_owned())?;
    let body_len = text.len().checked_sub(9).filter(|len| text.is_char_boundary(*len));
    let (body, crc) = text.split_at(body_len.ok_or("no checksum line")?);
    if crc != format!("{:08x}\n", crc32c(body.as_bytes())) {
        return Err("wrong checksum".to_owned());
    }
    let mut by_commons: BTreeMap<Commons, HashMap<Arc<str>, Entry>> = BTreeMap::new();
    for line in body.lines() {
        let line: Line = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let kind = MetricKind::ALL.into_iter().find(|kind| kind.as_str() == line.kind);
        let description = Description {
            kind: kind.unwrap_or_default(),
            unit: Arc::from(line.unit),
            help: Arc::from(line.help),
        };
        let entry = Entry { description, said_on: line.said_on };
        by_commons.entry(line.commons).or_default().insert(Arc::from(line.metric), entry);
    }
    Ok(Descriptions { by_commons: RwLock::new(by_commons), is_dirty: AtomicBool::new(false) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::disk::sim::SimDisk;

    fn described(metric: &str, help: &str) -> Described {
        let kind = MetricKind::Counter;
        (Arc::from(metric), Description { kind, unit: Arc::from("s"), help: Arc::from(help) })
    }

    fn heart() -> Commons {
        Commons::new("heart").unwrap()
    }

    fn written() -> (SimDisk, Descriptions) {
        let (disk, all) = (SimDisk::new(), Descriptions::default());
        disk.create_dir_all("parquet").unwrap();
        all.take(&heart(), vec![described("a_total", "how\n\"many\""), described("b", "")], 5, 10);
        all.write(&disk).unwrap();
        (disk, all)
    }

    #[test]
    fn what_was_written_is_read() {
        let (disk, all) = written();

        let again = Descriptions::read(&disk).unwrap().unwrap();

        assert_eq!(*again.by_commons.read(), *all.by_commons.read());
        assert_eq!(again.all(&ReadScope::All).len(), 2);
        assert!(again.all(&ReadScope::Nothing).is_empty());
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let (disk, _) = written();
        let len = disk.read(FILE).unwrap().len();
        for at in 0..len {
            for mask in [0x01, 0x80] {
                disk.flip_byte(FILE, at, mask);
                assert!(Descriptions::read(&disk).unwrap().is_err(), "{at} {mask}");
                disk.flip_byte(FILE, at, mask);
            }
        }
    }

    #[test]
    fn only_what_differs_is_news_and_only_news_is_written() {
        let (disk, all) = written();
        let before = disk.files();

        assert!(!all.is_news(&heart(), "b", &described("b", "").1));
        assert!(all.is_news(&heart(), "b", &described("b", "x").1));
        all.write(&disk).unwrap();

        assert_eq!(disk.files(), before);
    }

    #[test]
    fn where_there_are_too_many_the_longest_unsaid_go() {
        let all = Descriptions::default();
        for day in 0..100 {
            all.take(&heart(), vec![described(&format!("m{day}"), "")], day, 32);
        }

        let left = all.all(&ReadScope::All);

        assert!((29..=32).contains(&left.len()), "{}", left.len());
        assert!(all.get(&heart(), "m99").is_some() && all.get(&heart(), "m0").is_none());
    }
}
