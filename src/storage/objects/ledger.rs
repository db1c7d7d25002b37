//! Which files are in object storage: a list of what was done, appended to and synced.
//!
//! ```text
//! objects/ledger   lines of `<CRC-32C of the rest, hex> <JSON>`
//!   {"begun":{"path":…,"upload":…}}   the object, or parts of it, may be there from now on
//!   {"stored":{"path":…,"size":…}}    the object is there, whole
//!   {"gone":{"path":…}}               it was removed
//! ```
//! A line that says that something may be there is synced before it can be; one that says that it is
//! there is synced before the local copy may go. So whatever ends the process, no object of ours is
//! unknown to the next one, and no file is believed to be stored that is not. The file is written
//! anew, without what no longer matters, at each start and when it has grown long.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use crc32c::crc32c;
use serde::{Deserialize, Serialize};

use crate::storage::disk::{self, Disk, DiskFile};

/// The folder of all that is kept about object storage.
pub(super) const DIR: &str = "objects";
/// Where the list is.
pub const LEDGER: &str = "objects/ledger";
/// Lines beyond those that matter, before the file is written anew.
const LINES_SPARE: usize = 4_096;

/// What is known of one object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Known {
    /// It may be there, or parts of it, under the id of an upload that was not ended.
    Begun(Option<String>),
    /// It is there, with this size.
    Stored(u64),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Begun {
        path: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        upload: Option<String>,
    },
    Stored {
        path: String,
        size: u64,
    },
    Gone {
        path: String,
    },
}

/// What is in object storage, by path.
pub type Stored = BTreeMap<String, u64>;

/// Reads which files are in object storage, whole, and how many lines were damaged; `None` where
/// nothing ever was.
pub fn stored(disk: &dyn Disk) -> io::Result<Option<(Stored, usize)>> {
    Ok(read(disk)?.map(|(known, n_damaged)| {
        let whole = known.into_iter().filter_map(|(path, known)| match known {
            Known::Stored(size) => Some((path, size)),
            Known::Begun(_) => None,
        });
        (whole.collect(), n_damaged)
    }))
}

type ByPath = BTreeMap<String, Known>;

fn read(disk: &dyn Disk) -> io::Result<Option<(ByPath, usize)>> {
    let is_there = disk.list(DIR)?.iter().any(|name| format!("{DIR}/{name}") == LEDGER);
    if is_there { Ok(Some(parse(&disk.read(LEDGER)?))) } else { Ok(None) }
}

/// Reads all lines that are whole, and counts those that are not; one that was cut short by the end of
/// the process was never relied upon, and is not counted.
pub(super) fn parse(bytes: &[u8]) -> (ByPath, usize) {
    let (mut known, mut n_damaged, mut is_torn) = (ByPath::new(), 0, false);
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        n_damaged += usize::from(std::mem::take(&mut is_torn));
        match parse_line(line) {
            Some(Line::Begun { path, upload }) => drop(known.insert(path, Known::Begun(upload))),
            Some(Line::Stored { path, size }) => drop(known.insert(path, Known::Stored(size))),
            Some(Line::Gone { path }) => drop(known.remove(&path)),
            None => is_torn = true,
        }
    }
    (known, n_damaged)
}

fn parse_line(line: &[u8]) -> Option<Line> {
    let (crc, json) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    (crc == format!("{:08x}", crc32c(json.as_bytes()))).then_some(())?;
    serde_json::from_str(json).ok()
}

fn push_line(text: &mut String, line: &Line) {
    let json = serde_json::to_string(line).expect("plain values have a JSON form");
    text.push_str(&format!("{:08x} {json}\n", crc32c(json.as_bytes())));
}

/// Reads lines and holds what they say against what is read after it was written again.
#[cfg(any(test, fuzzing))]
pub(in crate::storage) fn round_trip(bytes: &[u8]) {
    let (known, _) = parse(bytes);
    let mut text = String::new();
    known.iter().for_each(|(path, known)| push_line(&mut text, &line_of(path, known)));
    assert_eq!(parse(text.as_bytes()), (known, 0), "what is written is read");
}

fn line_of(path: &str, known: &Known) -> Line {
    let path = path.to_owned();
    match known {
        Known::Begun(upload) => Line::Begun { path, upload: upload.clone() },
        Known::Stored(size) => Line::Stored { path, size: *size },
    }
}

/// The list, in memory and on disk.
pub(super) struct Ledger {
    disk: Arc<dyn Disk>,
    known: ByPath,
    /// `None` until the first line, and after a failure, until it has been written anew.
    file: Option<Box<dyn DiskFile>>,
    n_lines: usize,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("n_known", &self.known.len()).finish_non_exhaustive()
    }
}

impl Ledger {
    /// Reads the list; the number is that of damaged lines. `None` where there never was one.
    pub(super) fn open(disk: Arc<dyn Disk>) -> io::Result<Option<(Self, usize)>> {
        Ok(read(&*disk)?
            .map(|(known, n_damaged)| (Self { disk, known, file: None, n_lines: 0 }, n_damaged)))
    }

    /// Returns an empty list, of which nothing is on disk yet.
    pub(super) fn empty(disk: Arc<dyn Disk>) -> Self {
        Self { disk, known: ByPath::new(), file: None, n_lines: 0 }
    }

    /// Returns what is known of a path.
    pub(super) fn get(&self, path: &str) -> Option<&Known> {
        self.known.get(path)
    }

    /// Returns the size of a file that is there, whole.
    pub(super) fn size_of(&self, path: &str) -> Option<u64> {
        match self.known.get(path) {
            Some(Known::Stored(size)) => Some(*size),
            _ => None,
        }
    }

    /// Walks all that is known.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Known)> {
        self.known.iter()
    }

    /// Notes that an object, or parts of it, may be there from now on.
    pub(super) fn begin(&mut self, path: &str, upload: Option<String>) -> io::Result<()> {
        self.put(path, Known::Begun(upload))
    }

    /// Notes that an object is there, whole.
    pub(super) fn store(&mut self, path: &str, size: u64) -> io::Result<()> {
        self.put(path, Known::Stored(size))
    }

    fn put(&mut self, path: &str, known: Known) -> io::Result<()> {
        self.append(&line_of(path, &known))?;
        self.known.insert(path.to_owned(), known);
        Ok(())
    }

    /// Notes that an object was removed.
    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        self.append(&Line::Gone { path: path.to_owned() })?;
        self.known.remove(path);
        Ok(())
    }

    fn append(&mut self, line: &Line) -> io::Result<()> {
        if self.file.is_none() || self.n_lines > 2 * self.known.len() + LINES_SPARE {
            self.write_anew()?;
        }
        let mut text = String::new();
        push_line(&mut text, line);
        let file = self.file.as_mut().expect("it was written anew");
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync());
        if written.is_err() {
            // What is at its end is unknown, so nothing is put behind it.
            self.file = None;
        }
        self.n_lines += 1;
        written
    }

    /// Writes all that is known under another name, and goes on appending there.
    fn write_anew(&mut self) -> io::Result<()> {
        self.file = None;
        disk::create_dir_synced(&*self.disk, DIR)?;
        let temporary = format!("{LEDGER}.tmp");
        let mut text = String::new();
        self.known.iter().for_each(|(path, known)| push_line(&mut text, &line_of(path, known)));
        let mut file = self.disk.create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync()?;
        self.disk.rename(&temporary, LEDGER)?;
        self.disk.sync_dir(DIR)?;
        (self.file, self.n_lines) = (Some(file), self.known.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::disk::sim::{Fault, SimDisk};

    fn open(disk: &SimDisk) -> (Ledger, usize) {
        Ledger::open(Arc::new(disk.clone())).unwrap().expect("there is one")
    }

    fn filled(disk: &SimDisk) -> Ledger {
        let mut ledger = Ledger::empty(Arc::new(disk.clone()));
        ledger.begin("a", None).unwrap();
        ledger.store("a", 7).unwrap();
        ledger.begin("b", Some("upload-1".to_owned())).unwrap();
        ledger.begin("c", None).unwrap();
        ledger.remove("c").unwrap();
        ledger
    }

    #[test]
    fn what_was_noted_is_read_by_the_next_process() {
        let disk = SimDisk::new();
        let ledger = filled(&disk);

        let (read, n_damaged) = open(&disk.crash(1));

        assert_eq!((&read.known, n_damaged), (&ledger.known, 0));
        assert_eq!((read.size_of("a"), read.size_of("b")), (Some(7), None));
        assert_eq!(stored(&disk).unwrap(), Some((Stored::from([("a".to_owned(), 7)]), 0)));
    }

    #[test]
    fn a_ledger_goes_on_where_the_last_process_ended() {
        let disk = SimDisk::new();
        drop(filled(&disk));
        let (mut ledger, _) = open(&disk);

        ledger.store("b", 9).unwrap();

        assert_eq!(open(&disk).0.known, ledger.known);
    }

    #[test]
    fn a_torn_end_is_dropped_and_a_flipped_byte_costs_one_line() {
        let disk = SimDisk::new();
        let ledger = filled(&disk);
        let text = disk.read(LEDGER).unwrap();
        for len in 0..text.len() {
            assert_eq!(parse(&text[..len]).1, 0, "cut at {len}");
        }

        let mut flipped = text.to_vec();
        let in_second_line = text.iter().position(|byte| *byte == b'\n').unwrap() + 12;
        flipped[in_second_line] ^= 0x04;

        let (known, n_damaged) = parse(&flipped);
        assert_eq!((n_damaged, known.get("a")), (1, Some(&Known::Begun(None))));
        assert_eq!(known.get("b"), ledger.known.get("b"));
    }

    #[test]
    fn after_a_crash_each_line_that_was_answered_for_is_there() {
        for seed in 0..200 {
            let disk = SimDisk::new();
            let mut ledger = filled(&disk);
            disk.arm(seed % 3, Fault::PowerCut);
            let stored = ledger.store("b", 9).is_ok();

            let (read, n_damaged) = open(&disk.crash(seed));

            let is_stored = read.size_of("b") == Some(9);
            assert!(n_damaged == 0 && (is_stored || !stored), "seed {seed}");
            assert_eq!(read.size_of("a"), Some(7), "seed {seed}");
        }
    }

    #[test]
    fn a_full_disk_leaves_the_list_as_it_was_and_later_lines_follow() {
        let disk = SimDisk::new();
        let mut ledger = filled(&disk);
        let before = ledger.known.clone();
        disk.arm(0, Fault::ShortFull);

        assert!(ledger.store("b", 9).is_err());

        assert_eq!((&ledger.known, &open(&disk).0.known), (&before, &before));
        disk.heal();
        ledger.store("d", 1).unwrap();
        assert_eq!(open(&disk).0.known, ledger.known);
    }

    #[test]
    fn a_long_list_is_written_anew() {
        let disk = SimDisk::new();
        let mut ledger = Ledger::empty(Arc::new(disk.clone()));
        for n in 0..3 * LINES_SPARE {
            ledger.begin(&format!("p{}", n % 3), None).unwrap();
        }

        let n_lines = disk.read(LEDGER).unwrap().iter().filter(|byte| **byte == b'\n').count();

        assert!(n_lines <= LINES_SPARE + 10, "{n_lines} lines for three paths");
        assert_eq!(open(&disk).0.known.len(), 3);
    }
}
