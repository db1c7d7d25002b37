//! From keys to series: known, new, dropped and forbidden ones.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::fake_store::Rig;
use crate::ingest::resolve::may_write;
use crate::ingest::{NewSeries, NotStored, Reason, Refusal, SampleParts, Seed, Sender};
use crate::model::{Commons, Grant, LabelsBuilder, WriteScope};
use crate::storage::{Part, SeriesRef};

fn new_series(pairs: &[(&str, &str)]) -> NewSeries {
    let mut labels = LabelsBuilder::new();
    for (name, value) in pairs {
        labels.set(name, value);
    }
    NewSeries { labels, ..NewSeries::default() }
}

fn refusal(why: NotStored) -> Refusal {
    match why {
        NotStored::Refused(refusal) => refusal,
        NotStored::Folded(folded) => panic!("{folded:?}"),
    }
}

/// Resolves one key and returns whether it was asked to describe it, and what came of it.
fn resolve_one(rig: &Rig, pairs: &[(&str, &str)]) -> (bool, Result<SeriesRef, Reason>) {
    let grant = Grant::open();
    let mut was_asked = false;
    let mut reason = None;
    let (_, series) = rig.ingest.resolve(
        Sender { grant: &grant, tenant: None },
        &[7],
        |_| {
            was_asked = true;
            Ok(new_series(pairs))
        },
        |_, why| reason = Some(refusal(why).reason),
    );
    (was_asked, series[0].ok_or_else(|| reason.unwrap()))
}

#[test]
fn a_key_is_described_once() {
    let rig = Rig::new();

    let first = resolve_one(&rig, &[("__name__", "up")]);
    let second = resolve_one(&rig, &[("__name__", "up")]);

    assert!(first.0 && !second.0 && first.1 == second.1);
    assert_eq!(rig.metric("commonwatch_ingest_new_series_total"), 1);
}

#[test]
fn what_tagging_drops_is_described_once_too() {
    let rig = Rig::new();

    let first = resolve_one(&rig, &[("__name__", "gen3_fence_login_total"), ("idp", "all")]);
    let second = resolve_one(&rig, &[("__name__", "gen3_fence_login_total"), ("idp", "all")]);

    assert_eq!(first, (true, Err(Reason::Policy("idp_all"))));
    assert_eq!(second, (false, Err(Reason::Policy("idp_all"))));
    rig.ingest.forget();
    assert!(resolve_one(&rig, &[("__name__", "up")]).0, "new rules may keep it");
}

#[test]
fn a_key_whose_labels_are_refused_is_not_registered() {
    let rig = Rig::new();
    let grant = Grant::open();
    let mut refused = Vec::new();

    let (_, series) = rig.ingest.resolve(
        Sender { grant: &grant, tenant: None },
        &[1, 2, 3],
        |idx| match idx {
            1 => Err(Refusal::new(Reason::NoMetricName, "no name")),
            _ => Ok(new_series(&[("__name__", &format!("m{idx}"))])),
        },
        |idx, why| refused.push((idx, refusal(why).reason)),
    );

    assert_eq!(series.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(refused, [(1, Reason::NoMetricName)]);
}

#[test]
fn a_full_commons_refuses_new_series_and_keeps_the_known() {
    let rig = Rig::new();
    resolve_one(&rig, &[("__name__", "up")]).1.unwrap();
    rig.store.limit_series(1);
    let grant = Grant::open();
    let mut messages = Vec::new();

    let (_, series) = rig.ingest.resolve(
        Sender { grant: &grant, tenant: None },
        &[7, 8],
        |_| Ok(new_series(&[("__name__", "down")])),
        |_, why| messages.push(refusal(why).message),
    );

    assert!(series[0].is_some() && series[1].is_none());
    assert!(messages[0].contains("limits.series_per_commons"), "{messages:?}");
}

#[test]
fn a_refused_series_is_described_once_until_series_have_left() {
    let rig = Rig::new();
    rig.store.limit_series(0);

    let attempts = [(); 3].map(|()| resolve_one(&rig, &[("__name__", "up")]));
    assert_eq!(attempts.each_ref().map(|(was_asked, _)| *was_asked), [true, false, false]);
    assert!(attempts.iter().all(|(_, series)| *series == Err(Reason::SeriesLimit)));
    assert_eq!(rig.store.n_registered(), 1);

    rig.store.end_epoch();
    rig.store.limit_series(1);
    assert!(matches!(resolve_one(&rig, &[("__name__", "up")]), (true, Ok(_))));
    assert!(matches!(resolve_one(&rig, &[("__name__", "up")]), (false, Ok(_))));
}

#[test]
fn an_unassigned_series_that_left_is_described_again() {
    let rig = Rig::new();
    let first = resolve_one(&rig, &[("__name__", "up")]);
    assert_eq!(rig.ingest.store.commons(first.1.unwrap().commons_idx), Commons::unassigned());

    rig.store.retire_all();

    assert!(resolve_one(&rig, &[("__name__", "up")]).0, "its index may be another's by now");
}

#[test]
fn senders_that_may_be_tagged_differently_never_share_a_key() {
    let grant = |write| Grant { write, ..Grant::open() };
    let grants = [
        grant(WriteScope::Any),
        grant(WriteScope::Commons(Commons::new("heart").unwrap())),
        grant(WriteScope::Commons(Commons::new("brain").unwrap())),
    ];
    let mut keys = BTreeSet::new();
    for grant in &grants {
        for tenant in [None, Some("a"), Some("b")] {
            for protocol in ["otlp", "prometheus"] {
                let sender = Sender { grant, tenant };
                keys.insert(Seed::new(sender, protocol).key(b"labels"));
                assert_eq!(Seed::new(sender, protocol), Seed::new(sender, protocol));
            }
        }
    }
    assert_eq!(keys.len(), 18);
}

#[track_caller]
fn check_write(write: WriteScope, commons: &Commons, want: bool) {
    let grant = Grant { write, ..Grant::open() };
    assert_eq!(may_write(&grant, commons).is_ok(), want, "{:?} {commons}", grant.write);
}

#[test]
fn a_credential_writes_to_what_it_covers() {
    let (heart, brain) = (Commons::new("heart").unwrap(), Commons::new("brain").unwrap());
    let cluster = |set: &[&Commons]| WriteScope::Cluster {
        cluster: Arc::from("c"),
        commons: set.iter().map(|commons| (*commons).clone()).collect(),
    };
    check_write(WriteScope::Nothing, &heart, false);
    check_write(WriteScope::Any, &heart, true);
    check_write(WriteScope::Any, &Commons::own(), false);
    check_write(WriteScope::Commons(heart.clone()), &heart, true);
    check_write(WriteScope::Commons(heart.clone()), &brain, false);
    check_write(WriteScope::Commons(heart.clone()), &Commons::unassigned(), false);
    check_write(cluster(&[&heart]), &heart, true);
    check_write(cluster(&[&heart]), &brain, false);
    check_write(cluster(&[&heart]), &Commons::cluster(), true);
    check_write(cluster(&[&heart]), &Commons::own(), false);
    check_write(cluster(&[]), &brain, true);
}

#[test]
fn samples_are_grouped_by_commons() {
    let series = |commons_idx, series_idx| SeriesRef { commons_idx, series_idx };
    let mut parts = SampleParts::with_capacity(4);
    parts.push(series(5, 1), &[10, 20], &[1.0, 2.0]);
    parts.push(series(0, 9), &[10], &[3.0]);
    parts.push(series(5, 2), &[10], &[4.0]);

    let parts = parts.into_parts();

    let text: Vec<String> = parts.iter().map(|part| format!("{part:?}")).collect();
    assert_eq!(parts.len(), 2);
    let Part::Samples { commons_idx, series_idx, timestamps_ms, values, .. } = &parts[0] else {
        panic!("{text:?}");
    };
    assert_eq!((*commons_idx, &series_idx[..]), (5, &[1, 1, 2][..]));
    assert_eq!((&timestamps_ms[..], &values[..]), (&[10, 20, 10][..], &[1.0, 2.0, 4.0][..]));
}
