//! What holds of every life of a store, whatever comes and goes.

use super::*;

fn n_seeds(default: u64) -> u64 {
    std::env::var("SERIES_LIVES").ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

#[test]
fn no_sample_goes_to_a_wrong_series_whatever_comes_and_goes() {
    for seed in 0..n_seeds(12) {
        let mut world = World::new(seed);
        for _ in 0..200 {
            assert!(world.step());
        }
        world.check();
        world.come_to_rest();
        for _ in 0..50 {
            assert!(world.step());
        }
        world.check();
    }
}

#[test]
fn power_cuts_lose_nothing_and_revive_nobody_as_another() {
    for seed in 0..n_seeds(12) {
        let mut world = World::new(seed);
        for _ in 0..4 {
            let (n_ops, crash) = (world.rng.random_range(0..80), world.rng.random());
            world.disk.arm(n_ops, Fault::PowerCut);
            while world.step() {}
            let disk = world.disk.crash(crash);
            world.restart(disk);
        }
        world.come_to_rest();
    }
}
