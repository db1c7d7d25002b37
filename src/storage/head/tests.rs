//! The life of series within one registry.

use super::raw_keys::Epoch;
use super::registry::Registry;
use crate::model::{Labels, MatchOp, Matcher, SeriesMeta};

fn labels(job: &str, code: &str) -> Labels {
    Labels::from_pairs([("__name__", "req"), ("job", job), ("code", code)])
}

fn registry() -> Registry {
    let mut registry = Registry::default();
    for (job, code) in [("a", "200"), ("a", "500"), ("b", "200"), ("b", "")] {
        registry.insert(&labels(job, code), &SeriesMeta::default(), 0);
    }
    registry
}

fn select(registry: &Registry, matchers: &[(&str, MatchOp, &str)]) -> Vec<u32> {
    let matchers: Vec<Matcher> =
        matchers.iter().map(|(name, op, value)| Matcher::new(name, *op, value).unwrap()).collect();
    registry.select(&matchers)
}

#[track_caller]
fn check(matchers: &[(&str, MatchOp, &str)], want: &[u32]) {
    assert_eq!(select(&registry(), matchers), want);
}

/// Takes series off and lets their indexes go, as a pass and the next do.
fn retire(registry: &mut Registry, indexes: &[u32]) {
    registry.release(Epoch(1));
    indexes.iter().for_each(|&idx| drop(registry.retire(idx)));
    registry.check();
    while registry.purge(1) {}
    registry.check();
}

#[test]
fn matchers_select_series() {
    check(&[], &[0, 1, 2, 3]);
    check(&[("job", MatchOp::Eq, "a")], &[0, 1]);
    check(&[("job", MatchOp::Eq, "a"), ("code", MatchOp::Eq, "200")], &[0]);
    check(&[("code", MatchOp::Re, "[25]00")], &[0, 1, 2]);
    check(&[("job", MatchOp::Re, "a|b"), ("code", MatchOp::Re, "5..")], &[1]);
    check(&[("job", MatchOp::Eq, "c")], &[]);
    check(&[("nope", MatchOp::Re, ".+")], &[]);
}

#[test]
fn a_rare_label_among_many_series_is_found_as_any_other() {
    let mut registry = Registry::default();
    for n in 0..2_000_u32 {
        let pod = format!("p{n}");
        let job = ["a", "b", ""][n as usize % 3];
        let pairs = [("__name__", "req"), ("job", job), ("pod", &pod), ("few", &pod[..2])];
        registry.insert(&Labels::from_pairs(pairs), &SeriesMeta::default(), 0);
    }
    let cases: &[&[(&str, MatchOp, &str)]] = &[
        &[
            ("__name__", MatchOp::Eq, "req"),
            ("pod", MatchOp::Eq, "p1999"),
            ("job", MatchOp::Eq, "b"),
        ],
        &[
            ("__name__", MatchOp::Eq, "req"),
            ("pod", MatchOp::Eq, "p1999"),
            ("job", MatchOp::Ne, "b"),
        ],
        &[("pod", MatchOp::Re, "p19.."), ("few", MatchOp::Eq, "p1"), ("job", MatchOp::Re, "a|b")],
        &[
            ("pod", MatchOp::Re, "p7|p77|p777"),
            ("few", MatchOp::Re, "p.+"),
            ("job", MatchOp::Eq, ""),
        ],
        &[
            ("pod", MatchOp::Eq, "nope"),
            ("__name__", MatchOp::Re, "r.*"),
            ("job", MatchOp::Re, ".+"),
        ],
    ];
    for case in cases {
        let matchers: Vec<Matcher> =
            case.iter().map(|(name, op, value)| Matcher::new(name, *op, value).unwrap()).collect();
        let matches = |idx: &u32| {
            let labels = &registry.series(*idx).labels;
            matchers.iter().all(|m| m.matches(labels.get(&m.name).unwrap_or("")))
        };
        let want: Vec<u32> = registry.indexes().filter(matches).collect();
        assert_eq!(registry.select(&matchers), want, "{case:?}");
    }
}

#[test]
fn absent_labels_count_as_empty() {
    check(&[("code", MatchOp::Eq, "")], &[3]);
    check(&[("code", MatchOp::Ne, "200")], &[1, 3]);
    check(&[("code", MatchOp::Nre, "2..")], &[1, 3]);
    check(&[("code", MatchOp::Re, ".*")], &[0, 1, 2, 3]);
    check(&[("nope", MatchOp::Eq, "")], &[0, 1, 2, 3]);
}

#[test]
fn registered_series_are_found() {
    let registry = registry();

    assert_eq!(registry.find(&labels("b", "200")), Some(2));
    assert_eq!(registry.find(&Labels::from_pairs([("x", "y")])), None);
    assert_eq!((registry.len(), registry.n_of_metric("req"), registry.n_of_metric("x")), (4, 4, 0));
}

#[test]
fn a_series_that_left_is_not_selected() {
    let mut registry = registry();

    registry.release(Epoch(1));
    drop(registry.retire(0));

    assert_eq!(select(&registry, &[]), [1, 2, 3], "before the index is purged of it");
    assert_eq!(select(&registry, &[("job", MatchOp::Re, ".+")]), [1, 2, 3]);
    assert_eq!(registry.find(&labels("a", "200")), None);
    while registry.purge(1) {}
    registry.check();
    assert_eq!(select(&registry, &[("code", MatchOp::Eq, "200")]), [2]);
    assert_eq!((registry.len(), registry.n_of_metric("req")), (3, 3));
}

#[test]
fn an_index_is_given_out_again_after_the_next_pass_begins() {
    let mut registry = registry();
    retire(&mut registry, &[0, 2]);

    let meta = SeriesMeta::default();
    assert_eq!(registry.insert(&labels("c", "1"), &meta, 0), 4, "0 and 2 are in limbo");
    registry.release(Epoch(7));
    assert_eq!(registry.insert(&labels("a", "200"), &meta, 0), 0, "the lowest first");
    assert_eq!(registry.insert(&labels("d", "200"), &meta, 0), 2);

    registry.check();
    assert_eq!(select(&registry, &[("code", MatchOp::Eq, "200")]), [0, 2]);
    assert!(registry.is_valid(0, Epoch(7)) && !registry.is_valid(0, Epoch(6)));
}

#[test]
fn indexes_at_the_end_give_their_memory_back() {
    let mut registry = registry();
    retire(&mut registry, &[1, 2, 3]);

    registry.release(Epoch(2));
    registry.check();

    assert_eq!(registry.insert(&labels("z", "1"), &SeriesMeta::default(), 0), 1);
    registry.check();
}

#[test]
fn what_was_touched_is_not_idle() {
    let mut registry = registry();
    registry.touch(1, 60);
    registry.touch(1, 50);

    assert_eq!(registry.idle(0, 3, 59), Some(vec![0, 2]));
    assert_eq!(registry.idle(3, 3, 60), Some(vec![3]));
    assert_eq!(registry.idle(4, 3, 60), None);
}

#[test]
fn a_sender_cannot_give_a_series_ever_more_keys() {
    let mut registry = registry();

    let forgotten: Vec<u64> = (1..=100).filter_map(|key| registry.add_key(0, key)).collect();

    assert_eq!(forgotten, (1..=92).collect::<Vec<u64>>());
    let mut left: Vec<u64> = registry.retire(0).collect();
    left.sort_unstable();
    assert_eq!(left, (93..=100).collect::<Vec<u64>>());
}
