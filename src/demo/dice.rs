//! Chance, from a seed: the same seed throws the same numbers.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// A source of chance of one sender, so that what happens to one does not shift the others.
#[derive(Debug)]
pub(super) struct Dice(SmallRng);

impl Dice {
    /// Returns the dice of the sender `idx` of a world.
    pub(super) fn new(seed: u64, idx: u64) -> Self {
        Self(SmallRng::seed_from_u64(seed ^ idx.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
    }

    /// Returns a number in `0.0..1.0`.
    pub(super) fn unit(&mut self) -> f64 {
        self.0.random()
    }

    /// Returns true with a probability.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// Returns a number in `0..n`; 0 when `n` is 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        if n == 0 { 0 } else { self.0.random_range(0..n) }
    }

    /// Returns one of a list that is not empty.
    pub(super) fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        let n = u64::try_from(all.len()).unwrap_or(u64::MAX);
        &all[usize::try_from(self.below(n)).unwrap_or(0)]
    }

    /// Returns one of a list that is not empty, by weight.
    pub(super) fn weighted<'a, T>(&mut self, all: &'a [T], weight: impl Fn(&T) -> f64) -> &'a T {
        let total: f64 = all.iter().map(&weight).sum();
        let mut left = self.unit() * total;
        for item in all {
            left -= weight(item);
            if left < 0.0 {
                return item;
            }
        }
        &all[all.len() - 1]
    }

    /// Returns a number of the log-normal distribution with this median.
    pub(super) fn log_normal(&mut self, median: f64, sigma: f64) -> f64 {
        // Box-Muller; 1 - u is never 0.
        let (u, v) = (1.0 - self.unit(), self.unit());
        let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
        median * (sigma * normal).exp()
    }

    /// Returns 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.random()
    }

    /// Returns 32 hexadecimal digits.
    pub(super) fn hex32(&mut self) -> String {
        format!("{:016x}{:016x}", self.bits(), self.bits())
    }

    /// Returns a GUID as Gen3 writes them, with a prefix.
    pub(super) fn guid(&mut self) -> String {
        let (a, b) = (self.bits(), self.bits());
        format!(
            "dg.9999/{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            b >> 52,
            b & 0xffff_ffff_ffff
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_throws_the_same_numbers() {
        let throw = |seed, idx| Dice::new(seed, idx).bits();

        assert_eq!(throw(7, 1), throw(7, 1));
        assert_ne!(throw(7, 1), throw(7, 2));
        assert_ne!(throw(7, 1), throw(8, 1));
    }

    #[test]
    fn half_of_a_log_normal_is_below_its_median() {
        let mut dice = Dice::new(1, 1);
        let n_below = (0..10_000).filter(|_| dice.log_normal(0.12, 0.8) < 0.12).count();

        assert!((4_800..5_200).contains(&n_below), "{n_below}");
    }
}
