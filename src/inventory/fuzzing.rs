//! What must hold of whatever was kept of the inventory: it is refused, or kept again as it was.

use super::{Config, Inventory};

const NOW_MS: i64 = 1_800_000_000_000;

/// What an earlier process kept.
pub fn inventory_state(bytes: &[u8]) {
    let new = || Inventory::new(Config::default(), NOW_MS);
    let mut read = new();
    if read.restore(bytes).is_err() {
        return;
    }
    let written = read.save();
    let mut again = new();
    again.restore(&written).expect("what we write we read");
    assert_eq!(again.save(), written);
}
