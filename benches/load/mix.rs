//! Numbers that look random and follow from a counter, so that a load is the same on every run.

/// Mixes a counter into 64 bits that repeat for no other counter (splitmix64).
pub(crate) fn mix(counter: u64) -> u64 {
    let mut x = counter.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Picks one of `choices` by a counter.
pub(crate) fn pick<'a>(choices: &[&'a str], counter: u64) -> &'a str {
    let n_choices = u64::try_from(choices.len()).expect("a list in memory");
    let idx = usize::try_from(counter % n_choices).expect("below the length");
    choices[idx]
}
