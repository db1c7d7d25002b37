//! About how many people asked for something, without keeping who.
//!
//! Each is a hash, keyed anew at every start, that raises one of 1,024 numbers of a sketch
//! (`HyperLogLog`: Flajolet and others, 2007; about 3 % off). A sketch covers a slot of time; a window
//! is the union of its slots, the present one among them, so it covers up to one slot more than its
//! name says. A restart forgets.

use std::hash::{BuildHasher, RandomState};

/// So many bits of a hash choose a register.
const INDEX_BITS: u32 = 10;
const REGISTERS: usize = 1 << INDEX_BITS;

/// The windows: the label, slots that are kept, and how long one is.
const WINDOWS: [(&str, usize, i64); 2] = [("1h", 7, 600), ("1d", 25, 3_600)];

type Sketch = [u8; REGISTERS];

/// A slot of time and who was there.
#[derive(Debug, Clone)]
struct Slot {
    number: i64,
    sketch: Box<Sketch>,
}

/// The people of one commons.
#[derive(Debug, Default)]
pub(super) struct Users {
    key: RandomState,
    windows: [Vec<Slot>; WINDOWS.len()],
}

impl Users {
    /// Takes note of somebody at a time; `user` is what the revproxy wrote, anonymous people included.
    pub(super) fn observe(&mut self, user: &str, at_s: i64, now_s: i64) {
        if user.starts_with("uid:null") || user.len() <= "uid:,".len() {
            return;
        }
        let hash = self.key.hash_one(user);
        for (slots, (_, n_slots, slot_s)) in self.windows.iter_mut().zip(WINDOWS) {
            let (number, present) = (at_s.div_euclid(slot_s), now_s.div_euclid(slot_s));
            if !is_within(number, present, n_slots) {
                continue;
            }
            let found = slots.iter().position(|slot| slot.number == number);
            let idx = found.unwrap_or_else(|| {
                slots.retain(|slot| is_within(slot.number, present, n_slots));
                slots.push(Slot { number, sketch: Box::new([0; REGISTERS]) });
                slots.len() - 1
            });
            add(&mut slots[idx].sketch, hash);
        }
    }

    /// Returns each window and its number of people; none before the first of them came.
    pub(super) fn estimates(&self, now_s: i64) -> impl Iterator<Item = (&'static str, f64)> {
        let windows = self.windows.iter().zip(WINDOWS).filter(|(slots, _)| !slots.is_empty());
        windows.map(move |(slots, (label, n_slots, slot_s))| {
            let number = now_s.div_euclid(slot_s);
            let mut union: Sketch = [0; REGISTERS];
            for slot in slots.iter().filter(|slot| is_within(slot.number, number, n_slots)) {
                for (register, other) in union.iter_mut().zip(slot.sketch.iter()) {
                    *register = (*register).max(*other);
                }
            }
            (label, estimate(&union))
        })
    }
}

fn is_within(number: i64, present: i64, n_slots: usize) -> bool {
    let n_slots = i64::try_from(n_slots).unwrap_or(i64::MAX);
    (present - n_slots + 1..=present).contains(&number)
}

fn add(sketch: &mut Sketch, hash: u64) {
    let idx = usize::try_from(hash >> (64 - INDEX_BITS)).expect("ten bits are an index");
    // The lowest bit set keeps the rank below the number of bits that are left.
    let rest = (hash << INDEX_BITS) | (1 << (INDEX_BITS - 1));
    let rank = u8::try_from(rest.leading_zeros() + 1).expect("at most 64");
    sketch[idx] = sketch[idx].max(rank);
}

fn estimate(sketch: &Sketch) -> f64 {
    let m = 1_024.0_f64;
    let sum: f64 = sketch.iter().map(|rank| 0.5_f64.powi(i32::from(*rank))).sum();
    let n_empty = sketch.iter().filter(|rank| **rank == 0).count();
    let raw = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
    match u32::try_from(n_empty) {
        // Few people: the empty registers tell more.
        Ok(n_empty) if n_empty > 0 && raw <= 2.5 * m => (m * (m / f64::from(n_empty)).ln()).round(),
        _ => raw.round(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how many of `n` people, each seen twice, are counted.
    fn counted(n: u32) -> f64 {
        let mut users = Users::default();
        for user in (0..n).chain(0..n) {
            users.observe(&format!("uid:{user},researcher{user}@people.example"), 0, 0);
        }
        users.estimates(0).next().map_or(0.0, |(_, n)| n)
    }

    #[test]
    fn people_are_counted_once_and_about_right() {
        assert_eq!(counted(0), 0.0);
        for n in [10, 400, 20_000] {
            let ratio = counted(n) / f64::from(n);
            assert!((0.85..1.15).contains(&ratio), "{n}: {ratio}");
        }
    }

    #[test]
    fn passers_by_are_nobody() {
        let mut users = Users::default();
        for user in ["uid:null,unknown@unknown", "-", ""] {
            users.observe(user, 0, 0);
        }
        assert_eq!(users.estimates(0).count(), 0);
    }

    #[test]
    fn windows_forget() {
        let mut users = Users::default();
        users.observe("uid:1,a", 0, 0);
        users.observe("uid:2,b", 3_000, 3_000);
        users.observe("uid:3,late", -90_000, 3_000);

        let at = |now_s| users.estimates(now_s).map(|(_, n)| n).collect::<Vec<_>>();

        assert_eq!(at(3_599), [2.0, 2.0]);
        assert_eq!(at(4_200), [1.0, 2.0]);
        assert_eq!(at(30 * 3_600), [0.0, 0.0]);
    }
}
