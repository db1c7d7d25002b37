//! Which Loki pushes were stored lately.
//!
//! A sender whose answer was lost sends the same bytes again, and Loki keeps an entry of one stream,
//! time and line once. To compare lines would cost every line that comes, or every count over lines
//! that is asked for; a push that comes again has the same bytes, so it is known by their hash and
//! not even decoded. Every entry of a push brings its own time, so two pushes with the same bytes
//! never mean different entries, as two of OTLP might whose records leave theirs out.
//!
//! The memory has two halves and forgets the older one when the younger is full or old. What is
//! forgotten, by a restart too, is stored again; what had to go before its time is counted.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::Encoding;
use super::resolve::Sender;

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
    pub fn of(sender: &Sender<'_>, reading: Reading, encoded: &[u8]) -> Self {
        // Others may mean another commons by the same bytes, and headers may make them unreadable.
        let tenant = sender.tenant.unwrap_or_default();
        let of_sender = format!("{}\0{tenant}\0{reading:?}", sender.grant.name);
        Self(xxh3_128_with_seed(encoded, xxh3_64(of_sender.as_bytes())))
    }
}

/// The pushes that were stored lately.
#[derive(Debug)]
pub struct Pushes {
    halves: Mutex<Halves>,
    /// So many fill a half.
    half_max: usize,
    /// Those that went before their time.
    forgotten: Counter,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashSet<PushKey>,
    old: HashSet<PushKey>,
    /// When the young half began, ns of the monotonic clock.
    since_ns: u64,
}

impl Pushes {
    /// Returns a memory of so many pushes (`limits.known_pushes`); of 0 none is known.
    pub fn new(known_max: usize, forgotten: Counter) -> Self {
        Self { halves: Mutex::default(), half_max: known_max.div_ceil(2), forgotten }
    }

    /// Returns true for a push that was stored lately.
    pub fn has(&self, key: PushKey, now_ns: u64) -> bool {
        let mut halves = self.halves.lock();
        self.turn(&mut halves, now_ns);
        halves.young.contains(&key) || halves.old.contains(&key)
    }

    /// Remembers a push all of whose entries were stored.
    pub fn insert(&self, key: PushKey, now_ns: u64) {
        if self.half_max == 0 {
            return;
        }
        let mut halves = self.halves.lock();
        self.turn(&mut halves, now_ns);
        halves.young.insert(key);
    }

    /// Forgets the older half when it is time to, or the younger is full.
    fn turn(&self, halves: &mut Halves, now_ns: u64) {
        let half_ns = u64::try_from(HALF_AGE.as_nanos()).unwrap_or(u64::MAX);
        let age_ns = now_ns.saturating_sub(halves.since_ns);
        let is_old = age_ns >= half_ns;
        if !is_old && halves.young.len() < self.half_max {
            return;
        }
        let younger = std::mem::take(&mut halves.young);
        let older = std::mem::replace(&mut halves.old, younger);
        if !is_old {
            self.forgotten.inc_by(u64::try_from(older.len()).unwrap_or(u64::MAX));
        }
        if age_ns / 2 >= half_ns {
            halves.old.clear();
        }
        halves.since_ns = now_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(known_max: usize) -> Pushes {
        Pushes::new(known_max, Counter::default())
    }

    fn minutes(n: u64) -> u64 {
        n * 60_000_000_000
    }

    #[test]
    fn a_push_is_remembered_for_ten_minutes_and_not_for_thirty() {
        let pushes = of(100);
        pushes.insert(PushKey(7), minutes(3));

        assert!(pushes.has(PushKey(7), minutes(12)));
        assert!(!pushes.has(PushKey(8), minutes(12)));
        assert!(!pushes.has(PushKey(7), minutes(33)));
        assert_eq!(pushes.forgotten.get(), 0, "it was time");
    }

    #[test]
    fn no_more_than_the_limit_are_known_and_what_goes_early_is_counted() {
        let pushes = of(100);
        (0..140).for_each(|key| pushes.insert(PushKey(key), 0));

        assert!(pushes.has(PushKey(139), 0) && pushes.has(PushKey(50), 0));
        assert!(!pushes.has(PushKey(49), 0));
        let n_known = {
            let halves = pushes.halves.lock();
            halves.young.len() + halves.old.len()
        };
        assert!(n_known <= 100, "{n_known}");
        assert_eq!(pushes.forgotten.get(), 140 - u64::try_from(n_known).unwrap());
    }

    #[test]
    fn with_a_limit_of_nothing_no_push_is_known() {
        let pushes = of(0);
        pushes.insert(PushKey(7), 0);

        assert!(!pushes.has(PushKey(7), 0));
        assert_eq!(pushes.forgotten.get(), 0);
    }

    #[test]
    fn the_same_bytes_of_another_sender_or_read_in_another_way_are_another_push() {
        let grant = crate::model::Grant::open();
        let key = |tenant: Option<&str>, compression, bytes: &[u8]| {
            let reading = Reading { is_json: true, compression };
            PushKey::of(&Sender { grant: &grant, tenant }, reading, bytes)
        };
        let plain = Encoding::Identity;

        assert_eq!(key(None, plain, b"a"), key(None, plain, b"a"));
        assert_ne!(key(None, plain, b"a"), key(None, plain, b"b"));
        assert_ne!(key(None, plain, b"a"), key(Some("heart"), plain, b"a"));
        assert_ne!(key(None, plain, b"a"), key(None, Encoding::Gzip, b"a"), "read in another way");
    }
}
