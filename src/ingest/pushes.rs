//! Which Loki pushes were stored lately.
//!
//! A sender whose answer was lost sends the same bytes again, and Loki keeps an entry of one stream,
//! time and line once. To compare lines would cost every line that comes, or every count over lines
//! that is asked for; a push that comes again has the same bytes, so it is known by their hash and
//! not even decoded. Every entry of a push brings its own time, so two pushes with the same bytes
//! never mean different entries, as two of OTLP might whose records leave theirs out.
//!
//! The memory has two halves and forgets the older one when the younger is full or old. What is
//! forgotten, by a restart too, is stored again.

use std::collections::HashSet;
use std::time::Duration;

use parking_lot::Mutex;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::Encoding;
use super::resolve::Sender;

/// So many pushes fill a half: at 17 bytes each, some megabytes for both.
const HALF_MAX: usize = 64 << 10;
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
#[derive(Debug, Default)]
pub struct Pushes(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    young: HashSet<PushKey>,
    old: HashSet<PushKey>,
    /// When the young half began, ns of the monotonic clock.
    since_ns: u64,
}

impl Pushes {
    /// Returns true for a push that was stored lately.
    pub fn has(&self, key: PushKey, now_ns: u64) -> bool {
        let mut halves = self.0.lock();
        halves.turn(now_ns);
        halves.young.contains(&key) || halves.old.contains(&key)
    }

    /// Remembers a push all of whose entries were stored.
    pub fn insert(&self, key: PushKey, now_ns: u64) {
        let mut halves = self.0.lock();
        halves.turn(now_ns);
        halves.young.insert(key);
    }
}

impl Halves {
    /// Forgets the older half when it is time to.
    fn turn(&mut self, now_ns: u64) {
        let half_ns = u64::try_from(HALF_AGE.as_nanos()).unwrap_or(u64::MAX);
        let age_ns = now_ns.saturating_sub(self.since_ns);
        if age_ns < half_ns && self.young.len() < HALF_MAX {
            return;
        }
        self.old = std::mem::take(&mut self.young);
        if age_ns / 2 >= half_ns {
            self.old.clear();
        }
        self.since_ns = now_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minutes(n: u64) -> u64 {
        n * 60_000_000_000
    }

    #[test]
    fn a_push_is_remembered_for_ten_minutes_and_not_for_thirty() {
        let pushes = Pushes::default();
        pushes.insert(PushKey(7), minutes(3));

        assert!(pushes.has(PushKey(7), minutes(12)));
        assert!(!pushes.has(PushKey(8), minutes(12)));
        assert!(!pushes.has(PushKey(7), minutes(33)));
    }

    #[test]
    fn no_more_than_two_halves_are_remembered() {
        let pushes = Pushes::default();
        let n = u128::try_from(3 * HALF_MAX).unwrap();
        (0..n).for_each(|key| pushes.insert(PushKey(key), 0));

        assert!(pushes.has(PushKey(n - 1), 0));
        assert!(!pushes.has(PushKey(0), 0));
        let halves = pushes.0.lock();
        assert!(halves.young.len() + halves.old.len() <= 2 * HALF_MAX);
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
