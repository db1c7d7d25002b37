//! The items and their states, as functions of time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Config;
use crate::model::Signal;

/// A rhythm is at least this: the looks at the store are a minute apart.
const RHYTHM_MS_MIN: i64 = 60_000;
/// So many gaps are seen before a rhythm counts as learned.
const GAPS_MIN: u32 = 3;
/// Between two looks further apart than this, nobody watched.
const LOOK_GAP_MS_MAX: i64 = 5 * 60_000;

/// What reports: a commons or one of its services, by one signal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Item {
    /// The commons.
    pub commons: String,
    /// The service; none: the commons as a whole.
    pub service: Option<String>,
    /// What it sends.
    pub signal: Signal,
}

/// That something reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What.
    pub item: Item,
    /// When it was last heard of, ms since 1970 UTC.
    pub at_ms: i64,
}

/// Where an item stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemState {
    /// More comes as usual.
    Reporting,
    /// It takes longer than usual.
    Quiet,
    /// It has been silent for too long.
    Dark,
    /// It is expected and was never heard of.
    NeverSeen,
    /// It is silent, and somebody has said why.
    InMaintenance,
}

/// An item as it stands.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ItemView {
    /// What it is.
    #[serde(flatten)]
    pub item: Item,
    /// Where it stands.
    pub state: ItemState,
    /// When it was first and last heard of, ms since 1970 UTC.
    pub first_seen_ms: Option<i64>,
    /// See `first_seen_ms`.
    pub last_seen_ms: Option<i64>,
    /// How long it usually takes until more comes.
    pub rhythm_ms: i64,
    /// Whether the configuration says that it is expected.
    pub is_declared: bool,
    /// Since when it is dark.
    pub dark_since_ms: Option<i64>,
}

/// What is remembered of an item.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) item: Item,
    first_seen_ms: Option<i64>,
    /// When what it sent last was true, as far as it says so itself.
    pub(super) last_seen_ms: Option<i64>,
    /// When it was last heard of: what comes late is heard when it comes.
    #[serde(default)]
    heard_ms: i64,
    /// The longest usual gap; it fades, so that one long gap is not remembered for ever.
    rhythm_ms: i64,
    n_gaps: u32,
    pub(super) dark_since_ms: Option<i64>,
    #[serde(skip)]
    declared_ms: Option<i64>,
    #[serde(skip)]
    pub(super) is_in_maintenance: bool,
}

/// Everything that is expected.
#[derive(Debug)]
pub struct Inventory {
    pub(super) config: Config,
    pub(super) entries: BTreeMap<Item, Entry>,
    /// Since when somebody watches without a pause.
    watched_since_ms: i64,
    last_look_ms: i64,
    n_refused: u64,
}

impl Inventory {
    /// Returns an inventory of what is declared, watched from now on.
    pub fn new(config: Config, now_ms: i64) -> Self {
        let mut inventory = Self {
            entries: BTreeMap::new(),
            watched_since_ms: now_ms,
            last_look_ms: now_ms,
            n_refused: 0,
            config,
        };
        inventory.declare();
        inventory
    }

    fn declare(&mut self) {
        for expected in &self.config.expected {
            let item = Item {
                commons: expected.commons.clone(),
                service: expected.service.clone(),
                signal: expected.signal,
            };
            let entry = self.entries.entry(item.clone()).or_insert_with(|| Entry::new(item));
            entry.declared_ms = Some(expected.rhythm.as_ms().max(RHYTHM_MS_MIN));
        }
    }

    /// Takes back what an earlier process knew.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        let saved: Vec<Entry> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        for entry in saved {
            let declared_ms = self.entries.get(&entry.item).and_then(|known| known.declared_ms);
            self.entries.insert(entry.item.clone(), Entry { declared_ms, ..entry });
        }
        Ok(())
    }

    /// Returns what [`Inventory::restore`] takes.
    pub fn save(&self) -> Vec<u8> {
        let entries: Vec<&Entry> = self.entries.values().collect();
        serde_json::to_vec(&entries).expect("texts and integers are always JSON")
    }

    /// Takes what was seen and moves every item to `now_ms`.
    pub fn look(&mut self, seen: Vec<Seen>, now_ms: i64) {
        if now_ms.saturating_sub(self.last_look_ms) > LOOK_GAP_MS_MAX {
            self.watched_since_ms = now_ms; // Nobody watched meanwhile: we were away.
        }
        self.last_look_ms = now_ms;
        // A clock that was set back: what was heard later than now was heard just now.
        self.watched_since_ms = self.watched_since_ms.min(now_ms);
        for entry in self.entries.values_mut() {
            entry.heard_ms = entry.heard_ms.min(now_ms);
            entry.last_seen_ms = entry.last_seen_ms.map(|ms| ms.min(now_ms));
        }
        for Seen { item, at_ms } in seen {
            self.hear(item, at_ms.min(now_ms), now_ms);
        }
        let (config, since_ms) = (self.config.clone(), self.watched_since_ms);
        for entry in self.entries.values_mut() {
            entry.step(&config, since_ms, now_ms);
        }
    }

    /// Forgets what was learned and has not been seen for long, by a clock that no leap deceives.
    pub fn forget(&mut self, aging_ms: i64) {
        let forget_ms = aging_ms.saturating_sub(self.config.forget_after.as_ms());
        self.entries.retain(|_, entry| {
            entry.declared_ms.is_some() || entry.last_seen_ms.is_some_and(|ms| ms > forget_ms)
        });
    }

    /// Returns when anything was last heard of, ms since 1970 UTC.
    pub fn heard_ms(&self) -> Option<i64> {
        self.entries.values().map(|entry| entry.heard_ms).max()
    }

    fn hear(&mut self, item: Item, at_ms: i64, now_ms: i64) {
        let is_full = self.entries.len() >= self.config.items_max;
        let is_known = self.entries.contains_key(&item);
        if !is_known && (is_full || !self.config.learn) {
            self.n_refused += u64::from(is_full);
            return;
        }
        let entry = self.entries.entry(item.clone()).or_insert_with(|| Entry::new(item));
        entry.hear(at_ms, now_ms);
    }

    /// Says which items somebody has said to be in maintenance; all others are not.
    pub fn set_maintenance(&mut self, is_in_maintenance: impl Fn(&Item) -> bool) {
        for (item, entry) in &mut self.entries {
            entry.is_in_maintenance = is_in_maintenance(item);
        }
    }

    /// Returns the items that are silent for longer than usual: those of whom it is worth asking
    /// whether they are in maintenance.
    pub fn silent(&self) -> impl Iterator<Item = &Item> {
        let now_ms = self.last_look_ms;
        let is_silent = move |entry: &&Entry| {
            entry.silence_state(&self.config, self.watched_since_ms, now_ms) != ItemState::Reporting
        };
        self.entries.values().filter(is_silent).map(|entry| &entry.item)
    }

    /// Returns how many items were not remembered since the last call, because there are too many.
    pub fn take_refused(&mut self) -> u64 {
        std::mem::take(&mut self.n_refused)
    }

    /// Returns when was looked last, ms since 1970 UTC: what [`Inventory::views`] says is as of then.
    pub fn looked_ms(&self) -> i64 {
        self.last_look_ms
    }

    /// Returns all items, sorted.
    pub fn views(&self) -> Vec<ItemView> {
        let (since_ms, now_ms) = (self.watched_since_ms, self.last_look_ms);
        let view = |entry: &Entry| ItemView {
            item: entry.item.clone(),
            state: entry.state(&self.config, since_ms, now_ms),
            first_seen_ms: entry.first_seen_ms,
            last_seen_ms: entry.last_seen_ms,
            rhythm_ms: entry.rhythm_ms(),
            is_declared: entry.declared_ms.is_some(),
            dark_since_ms: entry.dark_since_ms,
        };
        self.entries.values().map(view).collect()
    }
}

impl Entry {
    fn new(item: Item) -> Self {
        Self {
            item,
            first_seen_ms: None,
            last_seen_ms: None,
            heard_ms: 0,
            rhythm_ms: RHYTHM_MS_MIN,
            n_gaps: 0,
            dark_since_ms: None,
            declared_ms: None,
            is_in_maintenance: false,
        }
    }

    /// Returns whether it was heard of when another had been silent for longer than usual.
    pub(super) fn outlived(&self, other: &Entry) -> bool {
        self.heard_ms.saturating_sub(other.heard_ms) > other.rhythm_ms()
    }

    fn rhythm_ms(&self) -> i64 {
        self.declared_ms.unwrap_or(self.rhythm_ms).max(RHYTHM_MS_MIN)
    }

    fn hear(&mut self, at_ms: i64, now_ms: i64) {
        self.first_seen_ms.get_or_insert(at_ms);
        let is_first = self.last_seen_ms.is_none();
        if self.last_seen_ms.is_some_and(|last_ms| at_ms <= last_ms) {
            return;
        }
        self.last_seen_ms = Some(at_ms);
        let gap_ms = now_ms.saturating_sub(std::mem::replace(&mut self.heard_ms, now_ms));
        // A gap that ended a darkness is an outage, not a rhythm.
        if !is_first && self.dark_since_ms.is_none() {
            self.n_gaps = self.n_gaps.saturating_add(1);
            self.rhythm_ms = gap_ms.max(self.rhythm_ms - self.rhythm_ms / 50).max(RHYTHM_MS_MIN);
        }
    }

    fn silence_state(&self, config: &Config, watched_since_ms: i64, now_ms: i64) -> ItemState {
        if self.last_seen_ms.is_none() {
            return ItemState::NeverSeen;
        }
        let heard_ms = self.heard_ms;
        let silent_ms = now_ms.saturating_sub(heard_ms.max(watched_since_ms));
        let rhythm_ms = self.rhythm_ms();
        let dark_ms = rhythm_ms.saturating_mul(i64::from(config.dark_after));
        let quiet_ms = rhythm_ms.saturating_mul(i64::from(config.quiet_after));
        let is_known_well = self.declared_ms.is_some() || self.n_gaps >= GAPS_MIN;
        match () {
            () if self.dark_since_ms.is_some_and(|since_ms| heard_ms <= since_ms) => {
                ItemState::Dark
            }
            () if is_known_well && silent_ms > dark_ms.max(config.dark_min.as_ms()) => {
                ItemState::Dark
            }
            () if silent_ms > quiet_ms => ItemState::Quiet,
            () => ItemState::Reporting,
        }
    }

    /// Returns the state for people: silence that somebody has announced is maintenance.
    pub(super) fn state(&self, config: &Config, watched_since_ms: i64, now_ms: i64) -> ItemState {
        match self.silence_state(config, watched_since_ms, now_ms) {
            ItemState::Reporting => ItemState::Reporting,
            _ if self.is_in_maintenance => ItemState::InMaintenance,
            state => state,
        }
    }

    fn step(&mut self, config: &Config, watched_since_ms: i64, now_ms: i64) {
        match self.silence_state(config, watched_since_ms, now_ms) {
            ItemState::Dark => {
                self.dark_since_ms.get_or_insert(now_ms);
            }
            _ => self.dark_since_ms = None,
        }
    }
}
