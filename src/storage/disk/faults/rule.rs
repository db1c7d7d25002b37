//! Rules as text: `point[@from[-to | +]]=action[:argument][?flag]`, parted by semicolons.

use std::io;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

/// One rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    operation: String,
    class: String,
    moment: String,
    meetings: RangeInclusive<u64>,
    flag: Option<PathBuf>,
    pub(super) action: Action,
}

/// What a rule does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Action {
    Kill,
    Error(Errno),
    Short,
    Delay(Duration),
    Hold(PathBuf),
}

/// What a broken disk says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Errno {
    Io,
    Full,
    Interrupted,
}

impl Errno {
    /// Returns the error as the kernel would give it on Linux.
    pub(super) fn to_io(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Errno::Io => 5,
            Errno::Full => 28,
            Errno::Interrupted => 4,
        })
    }
}

impl Rule {
    /// Reads rules parted by semicolons.
    pub(super) fn parse_all(text: &str) -> Result<Vec<Self>, String> {
        let rules = text.split(';').map(str::trim).filter(|rule| !rule.is_empty());
        rules.map(|rule| Self::parse(rule).ok_or(format!("not a fault: `{rule}`"))).collect()
    }

    fn parse(text: &str) -> Option<Self> {
        let (place, action) = text.split_once('=')?;
        let (point, meetings) = place.split_once('@').unwrap_or((place, "1"));
        let mut words = point.split('.').map(str::to_owned);
        let (operation, class, moment) = (words.next()?, words.next()?, words.next()?);
        let (action, flag) = match action.split_once('?') {
            Some((action, flag)) => (action, Some(PathBuf::from(flag))),
            None => (action, None),
        };
        let (meetings, action) = (meetings_of(meetings)?, action_of(action)?);
        let is_moment = ["before", "during", "after"].contains(&moment.as_str());
        (is_moment && words.next().is_none()).then_some(Self {
            operation,
            class,
            moment,
            meetings,
            flag,
            action,
        })
    }

    /// Returns true when this rule wants the `n_met`th meeting of a point.
    pub(super) fn is_due(&self, point: &str, n_met: u64) -> bool {
        let mut words = point.split('.');
        let fits = [&self.operation, &self.class, &self.moment]
            .into_iter()
            .all(|wanted| words.next().is_some_and(|word| wanted == "*" || wanted == word));
        fits && self.meetings.contains(&n_met)
            && self.flag.as_ref().is_none_or(|flag| flag.exists())
    }
}

fn meetings_of(text: &str) -> Option<RangeInclusive<u64>> {
    if let Some(from) = text.strip_suffix('+') {
        return Some(from.parse().ok()?..=u64::MAX);
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    Some(from.parse().ok()?..=to.parse().ok()?)
}

fn action_of(text: &str) -> Option<Action> {
    let (word, argument) = text.split_once(':').unwrap_or((text, ""));
    match (word, argument) {
        ("kill", "") => Some(Action::Kill),
        ("short", "") => Some(Action::Short),
        ("error", "eio") => Some(Action::Error(Errno::Io)),
        ("error", "full") => Some(Action::Error(Errno::Full)),
        ("error", "interrupted") => Some(Action::Error(Errno::Interrupted)),
        ("delay", ms) => Some(Action::Delay(Duration::from_millis(ms.parse().ok()?))),
        ("hold", file) if !file.is_empty() => Some(Action::Hold(PathBuf::from(file))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(rule: &str, point: &str, due_at: &[u64]) {
        let rules = Rule::parse_all(rule).unwrap();
        let due: Vec<u64> =
            (1..7).filter(|&n_met| rules.iter().any(|r| r.is_due(point, n_met))).collect();
        assert_eq!(due, due_at, "{rule} at {point}");
    }

    #[test]
    fn meetings_are_counted_from_one() {
        check("sync.wal.before=kill", "sync.wal.before", &[1]);
        check("sync.wal.before@3=kill", "sync.wal.before", &[3]);
        check("sync.wal.before@2-4=kill", "sync.wal.before", &[2, 3, 4]);
        check("sync.wal.before@5+=kill", "sync.wal.before", &[5, 6]);
    }

    #[test]
    fn a_star_is_any_operation_or_class() {
        check("*.wal.after=kill", "sync.wal.after", &[1]);
        check("write.*.after=kill", "write.state.after", &[1]);
        check("write.*.after=kill", "sync.state.after", &[]);
    }

    #[test]
    fn what_is_not_a_rule_is_refused() {
        for text in ["sync.wal=kill", "sync.wal.soon=kill", "sync.wal.before", "a.b.after=explode"]
        {
            assert!(Rule::parse_all(text).is_err(), "{text}");
        }
    }
}
