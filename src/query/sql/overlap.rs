//! Where two sources may hold the same sample: pure arithmetic on time ranges.
//!
//! A retried write may leave one (series, timestamp) in two files, or in a file and the head. That
//! can only be where their time ranges meet, and there usually is little of that: neighbouring
//! generations overlap by the spread of the senders' clocks. So sources are put into clusters that
//! touch each other, and within a cluster only the times that two sources share are looked at.

/// Times in ns since 1970 UTC, both ends included.
pub(super) type Range = (i64, i64);

/// Sources whose ranges touch, directly or through others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cluster {
    /// Indexes of the sources, ascending.
    pub(super) members: Vec<usize>,
    /// The times that at least two members cover, ascending and apart.
    pub(super) shared: Vec<Range>,
}

/// Puts the sources into clusters; one that touches no other is alone in its own.
pub(super) fn clusters(ranges: &[Range]) -> Vec<Cluster> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|&idx| ranges[idx]);
    let mut out: Vec<Cluster> = Vec::new();
    let mut end = i64::MIN;
    for idx in order {
        let (from, to) = ranges[idx];
        match out.last_mut() {
            Some(cluster) if from <= end => {
                cluster.members.push(idx);
                push_shared(&mut cluster.shared, (from, to.min(end)));
            }
            _ => out.push(Cluster { members: vec![idx], shared: Vec::new() }),
        }
        end = end.max(to);
    }
    for cluster in &mut out {
        cluster.members.sort_unstable();
    }
    out
}

/// Adds a range whose start is not before those of the ranges already there.
fn push_shared(shared: &mut Vec<Range>, (from, to): Range) {
    match shared.last_mut() {
        Some(last) if from <= last.1.saturating_add(1) => last.1 = last.1.max(to),
        _ => shared.push((from, to)),
    }
}

/// Returns true when the time lies in one of the ranges, which ascend and are apart.
pub(super) fn contains(ranges: &[Range], time_ns: i64) -> bool {
    let after = ranges.partition_point(|&(from, _)| from <= time_ns);
    after > 0 && time_ns <= ranges[after - 1].1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(ranges: &[Range], want: &[(&[usize], &[Range])]) {
        let want: Vec<Cluster> = want
            .iter()
            .map(|(members, shared)| Cluster { members: members.to_vec(), shared: shared.to_vec() })
            .collect();
        assert_eq!(clusters(ranges), want);
    }

    #[test]
    fn ranges_apart_stand_alone() {
        check(&[(10, 20), (0, 9)], &[(&[1], &[]), (&[0], &[])]);
    }

    #[test]
    fn touching_ends_are_shared() {
        check(&[(0, 10), (10, 20)], &[(&[0, 1], &[(10, 10)])]);
    }

    #[test]
    fn a_chain_is_one_cluster_with_two_shared_times() {
        check(&[(0, 10), (8, 20), (18, 30)], &[(&[0, 1, 2], &[(8, 10), (18, 20)])]);
    }

    #[test]
    fn a_range_within_another_is_shared_whole() {
        check(&[(0, 100), (40, 50), (45, 60)], &[(&[0, 1, 2], &[(40, 60)])]);
    }

    proptest! {
        #[test]
        fn a_time_is_shared_just_when_two_ranges_cover_it(
            ranges in prop::collection::vec((-20_i64..20, 0_i64..10), 0..8),
            time in -25_i64..35,
        ) {
            let ranges: Vec<Range> = ranges.into_iter().map(|(from, len)| (from, from + len)).collect();
            let n_covering = ranges.iter().filter(|(from, to)| (*from..=*to).contains(&time)).count();

            let found = clusters(&ranges);

            let is_shared = found.iter().any(|cluster| contains(&cluster.shared, time));
            prop_assert_eq!(is_shared, n_covering >= 2);
            let n_members: usize = found.iter().map(|cluster| cluster.members.len()).sum();
            prop_assert_eq!(n_members, ranges.len());
        }
    }
}
