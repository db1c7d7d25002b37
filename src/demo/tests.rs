//! The world as its senders see it: repeatable, of the announced shape, with no real person in it.

use super::scenario::{Planned, Scenario, Schedule};
use super::wire::{self, Parcel};
use super::*;

/// A Wednesday noon.
const START_MS: i64 = 1_786_536_000_000;

fn config(schedule: Schedule) -> Config {
    Config { schedule, ..Config::default() }
}

/// Returns everything that is said in `seconds`, by cluster.
fn live(config: Config, seconds: i64, step_s: i64) -> Vec<Vec<Shipment>> {
    let mut world = World::new(config, START_MS);
    (1..=seconds / step_s).map(|i| world.tick(START_MS + i * step_s * 1_000)).collect()
}

/// Returns every line with the labels of its stream.
fn lines(shipments: &[Vec<Shipment>]) -> Vec<(String, String)> {
    let streams = shipments.iter().flatten().flat_map(|shipment| &shipment.streams);
    let each = streams.flat_map(|(labels, lines)| {
        lines.iter().map(move |(_, line)| (labels.to_string(), line.clone()))
    });
    each.collect()
}

fn during(scenario: Scenario) -> Schedule {
    let planned = Planned { scenario, after: Duration::ZERO, lasts: Duration::from_secs(3_600) };
    Schedule { plan: vec![planned], ..Schedule::quiet() }
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let bytes = |seed| {
        let config = Config { seed, ..Config::default() };
        let all = live(config, 60, 1).into_iter().flatten().map(wire::encode);
        all.collect::<Vec<Vec<Parcel>>>()
    };

    assert_eq!(bytes(7), bytes(7));
    assert_ne!(bytes(7), bytes(8));
}

#[test]
fn a_laptop_stays_quiet() {
    let lines = lines(&live(Config::default(), 300, 1));

    let per_s = lines.len() / 300;
    assert!((80..250).contains(&per_s), "{per_s} lines a second");
}

#[test]
fn the_faults_of_the_access_log_are_there() {
    let lines = lines(&live(config(Schedule::quiet()), 600, 1));
    let access: Vec<&String> = lines
        .iter()
        .filter(|(labels, line)| labels.contains("app=\"revproxy\"") && line.contains("gen3log"))
        .map(|(_, line)| line)
        .collect();
    let share = |part: &str| {
        let n = access.iter().filter(|line| line.contains(part)).count();
        100 * n / access.len()
    };

    assert!((2..12).contains(&share(r"\x")), "escapes that are not JSON: {}", share(r"\x"));
    assert!(share("noproxy") >= 1, "sheepdog is invisible");
    assert!((30..80).contains(&share("uid:null,unknown@unknown")), "passers-by");
    assert!((70..93).contains(&share("\"http_status_code\": 200")), "most goes well");
    assert_eq!(access.iter().filter(|line| line.contains("_code\": 502")).count(), 0);
}

#[test]
fn streams_lack_the_labels_that_charts_do_not_set() {
    let lines = lines(&live(config(Schedule::quiet()), 1_800, 5));
    let streams = |part: &str| {
        let of = lines.iter().filter(move |(labels, _)| labels.contains(part));
        of.map(|(labels, _)| labels.clone()).collect::<Vec<_>>()
    };

    assert!(streams("app=\"fence\"").iter().all(|labels| labels.contains("hostname=")));
    for part in ["app=\"presigned-url-fence\"", "app=\"gen3job\""] {
        assert!(!streams(part).is_empty(), "{part}");
        assert!(streams(part).iter().all(|labels| !labels.contains("hostname=")), "{part}");
    }
    assert!(!streams("app_environment=").is_empty());
}

#[test]
fn fence_fails_at_genome_and_only_there() {
    let lines = lines(&live(config(during(Scenario::FenceDatabase)), 300, 1));
    let failed: Vec<_> = lines
        .iter()
        .filter(|(_, line)| line.contains("_code\": 502") || line.contains("_code\": 503"))
        .collect();

    assert!(failed.len() > 100, "{}", failed.len());
    assert!(failed.iter().all(|(labels, _)| labels.contains("genomeprod")));
}

#[test]
fn a_silent_cluster_keeps_what_it_has_and_sends_the_last_first() {
    let parcel = |n_items| Parcel { road: wire::Road::Logs, n_items, body: bytes::Bytes::new() };
    let mut outbox = Outbox::new("imagingprod", 3);

    for n_items in 1..=4 {
        outbox.put(vec![parcel(n_items)], true);
    }
    outbox.put(vec![], false);

    assert_eq!(outbox.totals().dropped, 1, "the first one found no room");
    assert_eq!(outbox.waiting_items(), [4, 3, 2]);
}

#[test]
fn nobody_in_it_exists() {
    let mails = regex::Regex::new(r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+").expect("a plain pattern");

    for (_, line) in lines(&live(Config::default(), 120, 1)) {
        for mail in mails.find_iter(&line).map(|found| found.as_str().trim_end_matches('.')) {
            assert!(mail.ends_with("@people.example") || mail == "unknown@unknown", "{mail}");
        }
    }
}

#[test]
fn metrics_are_scraped_on_their_own_time() {
    let shipments = live(config(Schedule::quiet()), 60, 1);
    let times: std::collections::BTreeSet<i64> =
        shipments.iter().flatten().flat_map(|s| &s.samples).map(|sample| sample.at_ms).collect();

    let wanted = (1..=4).map(|i| START_MS + i * 15_000);
    assert_eq!(times.into_iter().collect::<Vec<_>>(), wanted.collect::<Vec<_>>());
}
