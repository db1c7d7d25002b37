//! Which Loki pushes, and which OTLP requests of records and spans, were stored lately.
//!
//! A sender whose answer was lost sends the same bytes again, and Loki keeps an entry of one stream,
//! time and line once. To compare lines would cost every line that comes, or every count over lines
//! that is asked for; a push that comes again has the same bytes, so it is known by their hash and
//! not even decoded: it is neither stored nor derived from twice. Every entry of a push brings its own
//! time and every span its ids, so two requests with the same bytes never mean different ones. Two of
//! OTLP's records may, where they leave their times out: such requests are not remembered.
//!
//! A request some of which was refused is answered with the same words again, and one that comes while
//! the first is still under way waits for what becomes of that. The memory has two halves and forgets the older
//! one when the younger is full or old. What is forgotten, by a restart too, is stored again; what had to
//! go before its time is counted.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::sync::watch;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::metrics::Ending;
use super::resolve::Sender;
use super::{Encoding, Lane, Outcome};

/// The words about what was refused take so much of a half at most; past that a request some of which
/// was refused is looked at again.
const HALF_TOLD_BYTES_MAX: usize = 1 << 20;
/// A half is so old at most: Promtail and Alloy give up after about as long.
const HALF_AGE: Duration = Duration::from_secs(600);

/// How the bytes of a push are read.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// As JSON, and else as protobuf.
    pub is_json: bool,
    /// How they are compressed.
    pub compression: Encoding,
}

/// What tells a push from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PushKey(u128);

impl PushKey {
    /// Returns the key of a body as it came over the wire.
    pub fn of(sender: &Sender<'_>, lane: Lane, reading: Reading, encoded: &[u8]) -> Self {
        // Others may mean another commons by the same bytes, and headers may make them unreadable.
        let tenant = sender.tenant.unwrap_or_default();
        let of_sender = format!("{}\0{tenant}\0{lane:?}{reading:?}", sender.grant.name);
        Self(xxh3_128_with_seed(encoded, xxh3_64(of_sender.as_bytes())))
    }
}

/// The pushes that were stored lately, and those under way.
#[derive(Debug)]
pub struct Pushes {
    halves: Mutex<Halves>,
    /// Who waits for the end of each hears of it when the sender is dropped.
    under_way: Mutex<HashMap<PushKey, watch::Sender<()>>>,
    /// So many fill a half.
    half_max: usize,
    /// Those that went before their time.
    forgotten: Counter,
}

/// A push that is under way until this is dropped.
#[derive(Debug)]
pub struct UnderWay {
    pushes: Arc<Pushes>,
    key: PushKey,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.pushes.under_way.lock().remove(&self.key);
    }
}

#[derive(Debug, Default)]
struct Halves {
    young: Half,
    old: Half,
    /// When the young half began, ns of the monotonic clock.
    since_ns: u64,
}

#[derive(Debug, Default)]
struct Half {
    /// What was told of those some of which was refused; the others were stored whole.
    told: HashMap<PushKey, Option<Box<Outcome>>>,
    n_told_bytes: usize,
}

impl Pushes {
    /// Returns a memory of so many pushes (`limits.known_pushes`); of 0 none is known.
    pub fn new(known_max: usize, forgotten: Counter) -> Self {
        Self {
            halves: Mutex::default(),
            under_way: Mutex::default(),
            half_max: known_max.div_ceil(2),
            forgotten,
        }
    }

    /// Begins a push once no other with the same key is under way.
    pub async fn begin(self: &Arc<Self>, key: PushKey) -> UnderWay {
        while let Some(mut other) = self.other(key) {
            drop(other.changed().await); // An error is what the end is told by.
        }
        UnderWay { pushes: Arc::clone(self), key }
    }

    /// Returns the push with the same key that is under way; when there is none, this one is from now on.
    fn other(&self, key: PushKey) -> Option<watch::Receiver<()>> {
        match self.under_way.lock().entry(key) {
            Entry::Occupied(other) => Some(other.get().subscribe()),
            Entry::Vacant(place) => {
                place.insert(watch::Sender::new(()));
                None
            }
        }
    }

    /// Returns what became of a push that was stored lately.
    pub fn get(&self, key: PushKey, now_ns: u64) -> Option<Outcome> {
        let mut halves = self.halves.lock();
        self.turn(&mut halves, now_ns);
        let told = halves.young.told.get(&key).or_else(|| halves.old.told.get(&key))?;
        Some(told.as_deref().cloned().unwrap_or_default())
    }

    /// Remembers a push, unless nothing of it was stored.
    pub fn insert(&self, key: PushKey, outcome: &Outcome, now_ns: u64) {
        if self.half_max == 0 {
            return;
        }
        let mut halves = self.halves.lock();
        self.turn(&mut halves, now_ns);
        let half = &mut halves.young;
        match outcome.ending() {
            Ending::Stored => drop(half.told.insert(key, None)),
            Ending::Partial => half.insert_told(key, outcome),
            Ending::Refused | Ending::Deferred | Ending::Repeated => {}
        }
    }

    /// Forgets the older half when it is time to, or the younger is full.
    fn turn(&self, halves: &mut Halves, now_ns: u64) {
        let half_ns = u64::try_from(HALF_AGE.as_nanos()).unwrap_or(u64::MAX);
        let age_ns = now_ns.saturating_sub(halves.since_ns);
        let is_old = age_ns >= half_ns;
        if !is_old && halves.young.told.len() < self.half_max {
            return;
        }
        let younger = std::mem::take(&mut halves.young);
        let older = std::mem::replace(&mut halves.old, younger);
        if !is_old {
            self.forgotten.inc_by(u64::try_from(older.told.len()).unwrap_or(u64::MAX));
        }
        if age_ns / 2 >= half_ns {
            halves.old = Half::default();
        }
        halves.since_ns = now_ns;
    }
}

impl Half {
    fn insert_told(&mut self, key: PushKey, outcome: &Outcome) {
        let n_bytes = outcome.rejected.n_bytes();
        if self.n_told_bytes + n_bytes <= HALF_TOLD_BYTES_MAX {
            self.n_told_bytes += n_bytes;
            self.told.insert(key, Some(Box::new(outcome.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;
    use crate::ingest::outcome::{Reason, Rejected};
    use crate::model::Signal;

    fn of(known_max: usize) -> Pushes {
        Pushes::new(known_max, Counter::default())
    }

    fn minutes(n: u64) -> u64 {
        n * 60_000_000_000
    }

    /// Returns the outcome of a request that was stored but for one item, and the words about that.
    fn partial(words: &str) -> Outcome {
        let mut rejected = Rejected::default();
        rejected.add(Reason::Future, 1, || words.to_owned());
        Outcome { n_stored: 1, rejected }
    }

    #[test]
    fn a_push_is_remembered_for_ten_minutes_and_not_for_thirty() {
        let pushes = of(100);
        pushes.insert(PushKey(7), &Outcome::default(), minutes(3));

        assert_eq!(pushes.get(PushKey(7), minutes(12)), Some(Outcome::default()));
        assert_eq!(pushes.get(PushKey(8), minutes(12)), None);
        assert_eq!(pushes.get(PushKey(7), minutes(33)), None);
        assert_eq!(pushes.forgotten.get(), 0, "it was time");
    }

    #[test]
    fn no_more_than_the_limit_are_known_and_what_goes_early_is_counted() {
        let pushes = of(100);
        (0..140).for_each(|key| pushes.insert(PushKey(key), &Outcome::default(), 0));

        assert!(pushes.get(PushKey(139), 0).is_some() && pushes.get(PushKey(50), 0).is_some());
        assert!(pushes.get(PushKey(49), 0).is_none());
        let n_known = {
            let halves = pushes.halves.lock();
            halves.young.told.len() + halves.old.told.len()
        };
        assert!(n_known <= 100, "{n_known}");
        assert_eq!(pushes.forgotten.get(), 140 - u64::try_from(n_known).unwrap());
    }

    #[test]
    fn with_a_limit_of_nothing_no_push_is_known() {
        let pushes = of(0);
        pushes.insert(PushKey(7), &Outcome::default(), 0);

        assert_eq!(pushes.get(PushKey(7), 0), None);
        assert_eq!(pushes.forgotten.get(), 0);
    }

    #[test]
    fn what_was_refused_is_told_again_as_long_as_there_is_room_for_the_words() {
        let pushes = of(100);
        let long = partial(&"x".repeat(HALF_TOLD_BYTES_MAX));
        pushes.insert(PushKey(1), &partial("ahead"), 0);
        pushes.insert(PushKey(2), &long, 0);

        assert_eq!(pushes.get(PushKey(1), 0), Some(partial("ahead")));
        assert_eq!(pushes.get(PushKey(2), 0), None);
    }

    #[test]
    fn a_push_waits_for_the_end_of_the_same_and_for_no_other() {
        let pushes = Arc::new(of(100));
        let first = pushes.begin(PushKey(1)).now_or_never();
        let other = pushes.begin(PushKey(2)).now_or_never();
        assert!(first.is_some() && other.is_some());

        let mut again = std::pin::pin!(pushes.begin(PushKey(1)));
        assert!(again.as_mut().now_or_never().is_none());
        drop(other);
        assert!(again.as_mut().now_or_never().is_none());
        drop(first);
        assert!(again.as_mut().now_or_never().is_some());
        assert!(pushes.under_way.lock().is_empty(), "nothing stays of what has ended");
    }

    #[test]
    fn what_was_refused_whole_is_looked_at_again() {
        let pushes = of(100);
        pushes.insert(PushKey(1), &Outcome { n_stored: 0, ..partial("ahead") }, 0);

        assert_eq!(pushes.get(PushKey(1), 0), None);
    }

    #[test]
    fn the_same_bytes_of_another_sender_or_read_in_another_way_are_another_push() {
        let grant = crate::model::Grant::open();
        let key = |tenant: Option<&str>, lane, compression, bytes: &[u8]| {
            let reading = Reading { is_json: true, compression };
            PushKey::of(&Sender { grant: &grant, tenant }, lane, reading, bytes)
        };
        let (loki, plain) = (Lane::LOKI, Encoding::Identity);
        let known = key(None, loki, plain, b"a");

        assert_eq!(known, key(None, loki, plain, b"a"));
        assert_ne!(known, key(None, loki, plain, b"b"));
        assert_ne!(known, key(Some("heart"), loki, plain, b"a"));
        assert_ne!(known, key(None, loki, Encoding::Gzip, b"a"), "read in another way");
        assert_ne!(known, key(None, Lane::otlp_http(Signal::Logs), plain, b"a"), "another door");
    }
}
