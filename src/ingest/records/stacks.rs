//! Stack traces that came line by line are one record.
//!
//! Containers' logs are cut at line ends, so a traceback of Python or a stack of Java arrives as many
//! entries of one stream, or as many records of one resource where a collector speaks OTLP. Those
//! that follow each other in a request, within seconds, are put together
//! again; the lines stay as they were, with line ends between them. Nothing is held back for it: what
//! a push leaves open ends with it, because it is acknowledged with it. So a trace that a sender cut in
//! two stays two records, and sending a push again makes the same ones.
//!
//! The line before `Traceback (most recent call last):` is another record: it may be of another
//! worker of the same container.

use std::borrow::Cow;
use std::sync::LazyLock;

use memchr::memmem::Finder;

/// The most lines of one record.
const LINES_MAX: usize = 1_000;
/// The longest time from one line to the next.
const GAP_NS: i64 = 5_000_000_000;

/// How a traceback begins, in Python.
const TRACEBACK: &str = "Traceback (most recent call last):";
/// What stands between two that belong together.
const CHAINS: [&str; 2] = [
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
];

/// Pairs of structured metadata.
type Pairs<'a> = [(Cow<'a, str>, Cow<'a, str>)];

/// A record that more lines may belong to.
#[derive(Debug)]
pub(in crate::ingest) struct OpenRecord {
    /// When its first line was written.
    pub(in crate::ingest) time_ns: i64,
    /// Its lines.
    pub(in crate::ingest) text: String,
    pub(in crate::ingest) metadata: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    /// How many lines.
    pub(in crate::ingest) n_lines: u64,
    last_ns: i64,
    place: Place,
}

/// What the last line was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Python: the first line, a frame or its code.
    Frames,
    /// Python: the exception.
    Exception,
    /// Python: what links it to the next traceback.
    Chain,
    /// Java: perhaps an exception, perhaps a line like any other.
    Header,
    /// Java: a frame.
    Frame,
}

impl OpenRecord {
    /// Returns the record that a line begins, if others may follow in it.
    pub(in crate::ingest) fn of(time_ns: i64, line: &str, metadata: &Pairs<'_>) -> Option<Self> {
        let place = match line.trim() {
            text if text == TRACEBACK => Place::Frames,
            _ if is_java_header(line) => Place::Header,
            _ => return None,
        };
        let owned = |text: &Cow<'_, str>| Cow::Owned(text.clone().into_owned());
        let metadata = metadata.iter().map(|(name, value)| (owned(name), owned(value))).collect();
        Some(Self { time_ns, text: line.to_owned(), metadata, n_lines: 1, last_ns: time_ns, place })
    }

    /// Takes a line that belongs to the record; returns false when it does not.
    pub(in crate::ingest) fn take(
        &mut self,
        time_ns: i64,
        line: &str,
        metadata: &Pairs<'_>,
        bytes_max: usize,
    ) -> bool {
        let gap_ns = time_ns.saturating_sub(self.last_ns);
        let n_lines_max = u64::try_from(LINES_MAX).unwrap_or(u64::MAX);
        if !(0..=GAP_NS).contains(&gap_ns)
            || self.n_lines >= n_lines_max
            || self.text.len() + 1 + line.len() > bytes_max
            || self.metadata.as_slice() != metadata
        {
            return false;
        }
        let Some(place) = self.place.next(line) else { return false };
        self.place = place;
        self.text.push('\n');
        self.text.push_str(line);
        self.n_lines += 1;
        self.last_ns = time_ns;
        true
    }
}

impl Place {
    /// Returns what a line is behind this one, or `None` when it is of another record.
    fn next(self, line: &str) -> Option<Self> {
        let text = line.trim();
        let is_indented = line.starts_with([' ', '\t']);
        match self {
            Place::Frames if is_indented || text.is_empty() => Some(Place::Frames),
            Place::Frames => is_exception(line).then_some(Place::Exception),
            Place::Exception | Place::Chain if CHAINS.contains(&text) => Some(Place::Chain),
            Place::Exception | Place::Chain if text.is_empty() => Some(self),
            Place::Exception => None,
            Place::Chain => (text == TRACEBACK).then_some(Place::Frames),
            Place::Header => is_java_frame(line).then_some(Place::Frame),
            Place::Frame if is_java_frame(line) || is_java_cause(line) => Some(Place::Frame),
            Place::Frame => None,
        }
    }
}

/// Returns true for `package.Name: message`, as Python ends a traceback.
fn is_exception(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or("").trim_end();
    let is_part = |part: &str| {
        part.starts_with(|c: char| c.is_alphabetic() || c == '_')
            && part.chars().all(|c| c.is_alphanumeric() || c == '_')
    };
    !name.is_empty() && name.split('.').all(is_part)
}

/// Returns true for a line that names an exception, as Java's begin.
fn is_java_header(line: &str) -> bool {
    // Every line is asked: what the searches need is made once.
    static WORDS: LazyLock<[Finder<'static>; 3]> =
        LazyLock::new(|| ["Exception", "Error", "Throwable"].map(Finder::new));
    // A JSON record is whole as it is.
    !line.starts_with('{') && WORDS.iter().any(|word| word.find(line.as_bytes()).is_some())
}

/// Returns true for `    at package.Class.method(File.java:12)` and `    ... 12 more`.
fn is_java_frame(line: &str) -> bool {
    let text = line.trim();
    line.starts_with([' ', '\t'])
        && ((text.starts_with("at ") && text.ends_with(')'))
            || (text.starts_with("... ") && text.ends_with(" more")))
}

/// Returns true for what stands between the frames of exceptions that belong together.
fn is_java_cause(line: &str) -> bool {
    let text = line.trim_start();
    text.starts_with("Caused by: ") || text.starts_with("Suppressed: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the records that lines become, a second apart.
    fn records(lines: &[&str]) -> Vec<String> {
        let (mut done, mut open): (Vec<String>, Option<OpenRecord>) = (Vec::new(), None);
        for (time_s, line) in (0..).zip(lines) {
            let time_ns = time_s * 1_000_000_000;
            if open.as_mut().is_some_and(|record| record.take(time_ns, line, &[], 300)) {
                continue;
            }
            done.extend(open.take().map(|record| record.text));
            open = OpenRecord::of(time_ns, line, &[]);
            if open.is_none() {
                done.push((*line).to_owned());
            }
        }
        done.extend(open.map(|record| record.text));
        done
    }

    #[track_caller]
    fn check(records_wanted: &[&[&str]]) {
        let lines: Vec<&str> = records_wanted.concat();
        let wanted: Vec<String> = records_wanted.iter().map(|lines| lines.join("\n")).collect();
        assert_eq!(records(&lines), wanted);
    }

    const FRAME: &str = "  File \"/fence/blueprints/data.py\", line 12, in get";

    #[test]
    fn a_traceback_is_one_record() {
        check(&[
            &["[2026-11-21][fence][ERROR] request failed"],
            &[TRACEBACK, FRAME, "    return sign(url)", "fence.errors.NotFound: no such file"],
            &["10.0.0.1 GET /index 200"],
        ]);
        check(&[&[TRACEBACK, FRAME, "KeyError"], &[TRACEBACK, FRAME, "KeyError: 'a'"]]);
    }

    #[test]
    fn tracebacks_that_belong_together_are_one_record() {
        check(&[
            &[TRACEBACK, FRAME, "KeyError: 'a'", "", CHAINS[0], "", TRACEBACK, FRAME, "OSError"],
            &["next"],
        ]);
    }

    #[test]
    fn a_stack_of_java_is_one_record() {
        check(&[
            &[
                "java.lang.IllegalStateException: closed",
                "\tat org.x.Y.z(Y.java:12)",
                "\tat org.x.Y.w(Y.java:15)",
                "Caused by: java.io.IOException: gone",
                "\tat org.x.Y.v(Y.java:1)",
                "\t... 12 more",
            ],
            &["INFO started"],
        ]);
    }

    #[test]
    fn other_lines_stay_alone() {
        check(&[
            &["ERROR one"],
            &["  indented"],
            &["ERROR two"],
            &[r#"{"a": "Error"}"#],
            &["\tat x(y)"],
        ]);
        check(&[&[TRACEBACK], &["{\"not\": \"an exception\"}"]]);
        check(&[&[TRACEBACK, FRAME, "KeyError: 1"], &["  indented behind its end"]]);
    }

    #[test]
    fn records_are_bounded() {
        let long = format!("    {}", "x".repeat(150));
        check(&[&[TRACEBACK, &long], &[&long]]);
        let mut record = OpenRecord::of(0, TRACEBACK, &[]).unwrap();
        assert!(!record.take(GAP_NS + 1, FRAME, &[], 300), "too late");
        assert!(!record.take(-1, FRAME, &[], 300), "earlier");
        let other = [(Cow::Borrowed("pod"), Cow::Borrowed("b"))];
        assert!(!record.take(0, FRAME, &other, 300), "of another pod");
        assert_eq!(
            (0..2_000).filter(|_| record.take(0, "  x", &[], 1 << 20)).count(),
            LINES_MAX - 1
        );
    }
}
