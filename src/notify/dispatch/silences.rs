//! Silences: who asked for quiet about what, from when until when, and why.
//!
//! A silence never changes what it silences: an edit that would, or that would rewrite what has
//! already been silent, ends it and begins another one under a new id. Ended ones are kept for a
//! while, so that people can see why nobody was told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::base::age_clock::YOUNG_MS;
use crate::model::{Labels, MatchOp, Matcher};
use crate::notify::NotifyError;
use crate::notify::matchers::{MATCHERS_MAX, all_match, check_pattern};

/// The longest comment and author, in bytes.
const TEXT_BYTES_MAX: usize = 8 << 10;
/// The most bytes of all matchers of a silence together.
const MATCHERS_BYTES_MAX: usize = 16 << 10;

/// A matcher as JSON has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilenceMatcher {
    /// The label.
    pub name: String,
    /// The text or pattern.
    pub value: String,
    /// Whether the value is a pattern.
    pub is_regex: bool,
    /// Whether the label is to match, or not to.
    #[serde(default = "yes")]
    pub is_equal: bool,
}

fn yes() -> bool {
    true
}

impl SilenceMatcher {
    fn op(&self) -> MatchOp {
        match (self.is_regex, self.is_equal) {
            (false, true) => MatchOp::Eq,
            (false, false) => MatchOp::Ne,
            (true, true) => MatchOp::Re,
            (true, false) => MatchOp::Nre,
        }
    }

    fn compiled(&self) -> Result<Matcher, String> {
        Matcher::new(&self.name, self.op(), &self.value).map_err(|error| error.to_string())
    }
}

/// What a person asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SilenceDef {
    /// What is to be silent: alerts that meet all of them.
    pub matchers: Vec<SilenceMatcher>,
    /// From when, ms since 1970 UTC.
    pub starts_at_ms: i64,
    /// Until when.
    pub ends_at_ms: i64,
    /// Who asks.
    pub created_by: String,
    /// Why.
    pub comment: String,
}

/// Where a silence stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SilenceState {
    /// It is over.
    Expired,
    /// It holds.
    Active,
    /// It will hold.
    Pending,
}

/// A silence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// Names it.
    pub id: String,
    /// What was asked for.
    pub def: SilenceDef,
    /// When it was last changed.
    pub updated_ms: i64,
}

impl Silence {
    /// Returns where it stands at a time.
    pub fn state(&self, now_ms: i64) -> SilenceState {
        match () {
            () if self.def.ends_at_ms <= now_ms => SilenceState::Expired,
            () if self.def.starts_at_ms > now_ms => SilenceState::Pending,
            () => SilenceState::Active,
        }
    }
}

/// All silences.
#[derive(Debug, Default)]
pub(super) struct Silences {
    by_id: BTreeMap<String, (Silence, Vec<Matcher>)>,
    /// Those that held when the clock leapt, and until when they hold all the same.
    held_over: BTreeMap<String, i64>,
}

impl Silences {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Silence> {
        self.by_id.values().map(|(silence, _)| silence)
    }

    pub(super) fn get(&self, id: &str) -> Option<&Silence> {
        self.by_id.get(id).map(|(silence, _)| silence)
    }

    /// Returns the ids of silences that hold for an alert now.
    pub(super) fn holding(&self, labels: &Labels, now_ms: i64) -> Vec<String> {
        let all = self.by_id.values();
        let holding = all.filter(|(silence, matchers)| {
            self.holds(silence, now_ms) && all_match(matchers, |name| labels.get(name))
        });
        holding.map(|(silence, _)| silence.id.clone()).collect()
    }

    fn holds(&self, silence: &Silence, now_ms: i64) -> bool {
        silence.state(now_ms) == SilenceState::Active
            || self.held_over.get(&silence.id).is_some_and(|until_ms| now_ms < *until_ms)
    }

    /// Moves along with a clock that has leapt to `now_ms`: beside what holds by its own times, what held goes
    /// on for as long as it had left, until the leap is no longer young.
    pub(super) fn leap(&mut self, by_ms: i64, now_ms: i64) {
        let before_ms = now_ms.saturating_sub(by_ms);
        let last_ms = now_ms.saturating_add(YOUNG_MS);
        let mut held_over = std::mem::take(&mut self.held_over);
        held_over.values_mut().for_each(|until_ms| *until_ms = until_ms.saturating_add(by_ms));
        for silence in self.iter().filter(|one| one.state(before_ms) == SilenceState::Active) {
            let until_ms = silence.def.ends_at_ms.saturating_add(by_ms).min(last_ms);
            held_over.insert(silence.id.clone(), until_ms);
        }
        self.held_over = held_over;
    }

    /// Takes back what an earlier process stored.
    pub(super) fn restore(&mut self, silence: Silence) -> Result<(), String> {
        let matchers = check(&silence.def).map_err(|error| error.to_string())?;
        self.by_id.insert(silence.id.clone(), (silence, matchers));
        Ok(())
    }

    /// Begins a silence or changes one; returns its id and the ids of all silences that are to be
    /// stored anew.
    pub(super) fn set(
        &mut self,
        id: Option<&str>,
        mut def: SilenceDef,
        now_ms: i64,
        silences_max: usize,
    ) -> Result<(String, Vec<String>), NotifyError> {
        let matchers = check_new(&def, now_ms)?;
        let mut changed = Vec::new();
        if let Some(id) = id {
            let old = self.get(id).ok_or_else(|| NotifyError::NoSilence(id.to_owned()))?;
            if may_become(old, &def, now_ms) {
                self.held_over.remove(id);
                let silence = Silence { id: id.to_owned(), def, updated_ms: now_ms };
                self.by_id.insert(id.to_owned(), (silence, matchers));
                return Ok((id.to_owned(), vec![id.to_owned()]));
            }
            changed.extend(self.expire(id, now_ms)?);
        }
        if self.by_id.len() >= silences_max {
            return Err(NotifyError::TooMany {
                what: "silences",
                max: silences_max,
                key: "alerting.silences_max",
            });
        }
        def.starts_at_ms = def.starts_at_ms.max(now_ms);
        let id = new_id();
        let silence = Silence { id: id.clone(), def, updated_ms: now_ms };
        self.by_id.insert(id.clone(), (silence, matchers));
        changed.push(id.clone());
        Ok((id, changed))
    }

    /// Ends a silence now; returns its id when that changed something.
    pub(super) fn expire(&mut self, id: &str, now_ms: i64) -> Result<Option<String>, NotifyError> {
        let found = self.by_id.get_mut(id);
        let (silence, _) = found.ok_or_else(|| NotifyError::NoSilence(id.to_owned()))?;
        self.held_over.remove(id);
        match silence.state(now_ms) {
            SilenceState::Expired => return Ok(None),
            SilenceState::Pending => silence.def.starts_at_ms = now_ms,
            SilenceState::Active => {}
        }
        silence.def.ends_at_ms = now_ms;
        silence.updated_ms = now_ms;
        Ok(Some(id.to_owned()))
    }

    /// Forgets what ended before a time; returns the ids.
    pub(super) fn forget(&mut self, before_ms: i64) -> Vec<String> {
        let old = self.by_id.values().filter(|(silence, _)| silence.def.ends_at_ms < before_ms);
        let ids: Vec<String> = old.map(|(silence, _)| silence.id.clone()).collect();
        for id in &ids {
            self.by_id.remove(id);
            self.held_over.remove(id);
        }
        ids
    }
}

/// Says whether an edit leaves alone what was silent already (silence.go, `canUpdate`).
fn may_become(old: &Silence, new: &SilenceDef, now_ms: i64) -> bool {
    old.def.matchers == new.matchers
        && match old.state(now_ms) {
            SilenceState::Expired => false,
            SilenceState::Active => old.def.starts_at_ms == new.starts_at_ms,
            SilenceState::Pending => new.starts_at_ms >= now_ms,
        }
}

/// Checks what somebody sets, which is more than where silences are restored: one of before stays, whatever
/// its patterns are and however long.
fn check_new(def: &SilenceDef, now_ms: i64) -> Result<Vec<Matcher>, NotifyError> {
    for matcher in def.matchers.iter().take(MATCHERS_MAX) {
        check_pattern(matcher.op(), &matcher.value).map_err(NotifyError::Silence)?;
    }
    let matchers = check(def)?;
    if def.ends_at_ms <= now_ms {
        return Err(NotifyError::Silence("it ends in the past".to_owned()));
    }
    let texts = def.matchers.iter().flat_map(|one| [&one.name, &one.value]);
    let n_bytes: usize = texts.map(String::len).sum();
    if n_bytes > MATCHERS_BYTES_MAX {
        let message = format!("its matchers have {n_bytes} bytes of at most {MATCHERS_BYTES_MAX}");
        return Err(NotifyError::Silence(message));
    }
    Ok(matchers)
}

fn check(def: &SilenceDef) -> Result<Vec<Matcher>, NotifyError> {
    let wrong = |message: String| Err(NotifyError::Silence(message));
    if def.matchers.is_empty() || def.matchers.len() > MATCHERS_MAX {
        return wrong(format!("it needs 1 to {MATCHERS_MAX} matchers"));
    }
    let compiled: Result<Vec<Matcher>, String> = def
        .matchers
        .iter()
        .map(|matcher| match matcher.name.is_empty() {
            true => Err("a matcher has no name".to_owned()),
            false => matcher.compiled(),
        })
        .collect();
    let compiled = compiled.map_err(NotifyError::Silence)?;
    if compiled.iter().all(Matcher::matches_empty) {
        return wrong("at least one matcher must not match the empty string".to_owned());
    }
    if def.ends_at_ms <= def.starts_at_ms {
        return wrong("start time must be before end time".to_owned());
    }
    if def.comment.len().max(def.created_by.len()) > TEXT_BYTES_MAX {
        return wrong(format!("comment and author may have {TEXT_BYTES_MAX} bytes each"));
    }
    Ok(compiled)
}

/// Returns a random UUID, version 4.
fn new_id() -> String {
    let mut bytes: [u8; 16] = rand::random();
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn def(value: &str, starts_at_ms: i64, ends_at_ms: i64) -> SilenceDef {
        let matcher = SilenceMatcher {
            name: "commons".to_owned(),
            value: value.to_owned(),
            is_regex: false,
            is_equal: true,
        };
        SilenceDef {
            matchers: vec![matcher],
            starts_at_ms,
            ends_at_ms,
            created_by: "ann".to_owned(),
            comment: "update".to_owned(),
        }
    }

    fn labels(commons: &str) -> Labels {
        Labels::from_pairs([("alertname", "A"), ("commons", commons)])
    }

    #[test]
    fn a_silence_holds_between_its_times() {
        let mut silences = Silences::default();
        let (id, _) = silences.set(None, def("heart", 100, 200), 50, 10).unwrap();

        for (now_ms, want) in [(99, 0), (100, 1), (199, 1), (200, 0)] {
            assert_eq!(silences.holding(&labels("heart"), now_ms).len(), want, "{now_ms}");
        }
        assert!(silences.holding(&labels("canine"), 150).is_empty());
        assert_eq!(id.len(), 36);
    }

    #[test]
    fn an_end_may_be_moved_but_not_what_was_silent() {
        let mut silences = Silences::default();
        let (id, _) = silences.set(None, def("heart", 100, 200), 100, 10).unwrap();

        let (same, _) = silences.set(Some(&id), def("heart", 100, 300), 150, 10).unwrap();
        let (other, changed) = silences.set(Some(&id), def("canine", 100, 300), 160, 10).unwrap();

        assert_eq!(same, id);
        assert_ne!(other, id);
        assert_eq!(changed, [id.clone(), other]);
        assert_eq!(silences.get(&id).unwrap().state(160), SilenceState::Expired);
        assert!(silences.set(Some("nobody"), def("heart", 1, 300), 160, 10).is_err());
    }

    #[test]
    fn an_ended_one_is_kept_and_then_forgotten() {
        let mut silences = Silences::default();
        let (id, _) = silences.set(None, def("heart", 100, 200), 100, 10).unwrap();

        assert_eq!(silences.expire(&id, 150).unwrap(), Some(id.clone()));
        assert_eq!(silences.expire(&id, 160).unwrap(), None);
        assert!(silences.forget(150).is_empty());
        assert_eq!(silences.forget(151), [id]);
    }

    #[track_caller]
    fn refused(def: SilenceDef, says: &str) {
        let error = Silences::default().set(None, def, 1_000, 10).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }

    /// Returns silences one of which holds from 0 to `ends_at_ms`, before and behind a leap to 1,000 h or back.
    fn behind_a_leap(ends_at_ms: i64, by_ms: i64) -> (Silences, String, i64) {
        let mut silences = Silences::default();
        let (id, _) = silences.set(None, def("heart", 0, ends_at_ms), 0, 10).unwrap();
        silences.leap(by_ms, by_ms + 1);
        (silences, id, by_ms + 1)
    }

    #[test]
    fn behind_a_leap_a_silence_holds_for_as_long_as_it_had_left_and_some_minutes_at_most() {
        let minute = 60_000;
        for by_ms in [60_000 * minute, -60_000 * minute] {
            for (ends_at_ms, until_ms) in [(5 * minute, 5 * minute), (60 * minute, 15 * minute)] {
                let (silences, _, now_ms) = behind_a_leap(ends_at_ms, by_ms);
                let holds = |at_ms| !silences.holding(&labels("heart"), now_ms + at_ms).is_empty();
                assert!(holds(0) && holds(until_ms - 2), "{by_ms} {ends_at_ms}");
                assert!(!holds(until_ms), "{by_ms} {ends_at_ms}");
            }
        }
    }

    #[test]
    fn a_leap_that_is_taken_back_makes_no_silence_longer() {
        let (minute, by_ms) = (60_000, 3_600_000_000);
        let (mut silences, _, now_ms) = behind_a_leap(20 * minute, by_ms);
        silences.leap(-by_ms, now_ms - by_ms + minute);

        let holds = |at_ms| !silences.holding(&labels("heart"), at_ms).is_empty();
        assert!(holds(minute) && holds(20 * minute - 1) && !holds(20 * minute));
    }

    #[test]
    fn a_silence_that_goes_on_behind_a_leap_can_be_ended() {
        let (mut silences, id, now_ms) = behind_a_leap(300_000, 3_600_000_000);
        assert_eq!(silences.holding(&labels("heart"), now_ms), std::slice::from_ref(&id));

        silences.expire(&id, now_ms).unwrap();

        assert!(silences.holding(&labels("heart"), now_ms).is_empty());
    }

    #[test]
    fn what_would_silence_nothing_or_everything_is_refused() {
        refused(SilenceDef { matchers: Vec::new(), ..def("x", 1, 2_000) }, "matchers");
        refused(def("x", 3_000, 2_000), "before");
        refused(def("x", 1, 500), "past");
        refused(def("", 1, 2_000), "empty string");
        let mut large = def("\\pL{500}", 1, 2_000);
        large.matchers[0].is_regex = true;
        refused(large, "limit of 1048576 bytes");
        let mut broken = def("(", 1, 2_000);
        broken.matchers[0].is_regex = true;
        refused(broken, "error parsing regexp");
        let mut silences = Silences::default();
        silences.set(None, def("a", 1, 2_000), 1, 1).unwrap();
        let error = silences.set(None, def("b", 1, 2_000), 1, 1).unwrap_err();
        assert!(error.to_string().contains("alerting.silences_max"), "{error}");
    }
}
