//! The inventory on a clock of minutes.

use super::*;
use crate::base::units::HumanDuration;
use crate::model::Signal;

const MIN: i64 = 60_000;

/// Services tell too, and darkness comes after ten minutes.
fn config() -> Config {
    Config {
        service_severity: "ticket".to_owned(),
        dark_min: HumanDuration::from_secs(600),
        ..Config::default()
    }
}

fn item(commons: &str, service: Option<&str>) -> Item {
    Item { commons: commons.to_owned(), service: service.map(str::to_owned), signal: Signal::Logs }
}

struct Bench {
    inventory: Inventory,
    now_ms: i64,
}

impl Bench {
    fn new(config: Config) -> Self {
        Self { inventory: Inventory::new(config, 0), now_ms: 0 }
    }

    /// One minute a letter: an `x`, and the item was heard of.
    fn run(&mut self, who: &Item, minutes: &str) {
        for letter in minutes.chars() {
            self.now_ms += MIN;
            let seen = Seen { item: who.clone(), at_ms: self.now_ms };
            self.inventory.look(if letter == 'x' { vec![seen] } else { Vec::new() }, self.now_ms);
        }
    }

    fn state(&self, who: &Item) -> Option<ItemState> {
        let views = self.inventory.views();
        views.into_iter().find(|view| view.item == *who).map(|view| view.state)
    }

    fn firing(&self) -> Vec<String> {
        let alerts = self.inventory.alerts(self.now_ms, "http://w");
        alerts.iter().map(|alert| alert.annotations["summary"].clone()).collect()
    }
}

#[test]
fn what_was_seen_is_expected_from_then_on() {
    let heart = item("heart", None);
    let mut bench = Bench::new(config());
    bench.run(&heart, "xxxxx");
    assert_eq!(bench.state(&heart), Some(ItemState::Reporting));

    bench.run(&heart, "....");
    assert_eq!((bench.state(&heart), bench.firing().len()), (Some(ItemState::Quiet), 0));
    bench.run(&heart, ".......");

    assert_eq!(bench.state(&heart), Some(ItemState::Dark));
    assert_eq!(bench.firing(), ["heart sends no logs any more"]);
    let alert = &bench.inventory.alerts(bench.now_ms, "http://w")[0];
    assert_eq!(alert.annotations["description"], "last seen 11m ago, at 1970-01-01T00:05:00Z");
    assert_eq!(alert.starts_at_ms, 16 * MIN);
}

#[test]
fn behind_a_clock_that_is_set_back_silence_is_noticed() {
    let heart = item("heart", None);
    let mut bench = Bench::new(config());
    bench.run(&heart, &"x".repeat(100));

    bench.now_ms -= 60 * MIN;
    bench.run(&heart, "xxxxx");
    assert_eq!(bench.state(&heart), Some(ItemState::Reporting));
    bench.run(&heart, "............");

    assert_eq!((bench.state(&heart), bench.firing().len()), (Some(ItemState::Dark), 1));
}

#[test]
fn a_clock_that_is_set_ahead_neither_forgets_nor_ends_a_darkness() {
    let heart = item("heart", None);
    let mut bench = Bench::new(config());
    bench.run(&heart, "xxxxx...........");
    let (right_ms, year_ms) = (bench.now_ms, 365 * 24 * 60 * MIN);

    bench.now_ms += year_ms;
    bench.run(&heart, ".");
    bench.inventory.forget(right_ms + MIN);
    assert_eq!((bench.state(&heart), bench.firing().len()), (Some(ItemState::Dark), 1));

    bench.inventory.forget(right_ms + year_ms);
    assert_eq!(bench.state(&heart), None, "when it was silent for so long");
}

#[test]
fn something_that_came_once_is_not_missed() {
    let heart = item("heart", None);
    let mut bench = Bench::new(config());
    bench.run(&heart, "x.............................");

    assert_eq!((bench.state(&heart), bench.firing().len()), (Some(ItemState::Quiet), 0));
}

#[test]
fn each_has_its_own_rhythm() {
    let hourly = item("heart", Some("etl"));
    let mut bench = Bench::new(config());
    let hour = format!("x{}", ".".repeat(59));
    bench.run(&hourly, &hour.repeat(6));

    assert_eq!(bench.state(&hourly), Some(ItemState::Reporting));
    bench.run(&hourly, &".".repeat(5 * 60));
    assert_eq!(bench.state(&hourly), Some(ItemState::Quiet));
    bench.run(&hourly, &".".repeat(6 * 60));
    assert_eq!(bench.state(&hourly), Some(ItemState::Dark));
}

#[test]
fn late_data_ends_a_darkness_at_its_arrival_and_the_outage_is_no_rhythm() {
    let heart = item("heart", None);
    let mut bench = Bench::new(config());
    bench.run(&heart, "xxxxx");
    bench.run(&heart, &".".repeat(120));
    let before = bench.inventory.alerts(bench.now_ms, "http://w");
    assert_eq!(before.len(), 1);

    // What it sent first is of the time in which it was cut off.
    bench.now_ms += MIN;
    let late = Seen { item: heart.clone(), at_ms: 30 * MIN };
    bench.inventory.look(vec![late], bench.now_ms);

    assert_eq!((bench.state(&heart), bench.firing().len()), (Some(ItemState::Reporting), 0));
    let ended = bench.inventory.ended(&before, bench.now_ms);
    assert!(ended[0].resolved && ended[0].ends_at_ms == bench.now_ms);
    bench.run(&heart, &".".repeat(11));
    assert_eq!(bench.state(&heart), Some(ItemState::Dark), "its rhythm is still a minute");
}

#[test]
fn silence_that_nobody_watched_does_not_count() {
    let heart = item("heart", None);
    let mut bench = Bench::new(config());
    bench.run(&heart, "xxxxx");
    let saved = bench.inventory.save();

    let mut restarted = Inventory::new(config(), 500 * MIN);
    restarted.restore(&saved).unwrap();
    bench = Bench { inventory: restarted, now_ms: 500 * MIN };
    bench.run(&heart, ".....");
    assert_eq!(bench.firing(), [""; 0], "the server was away, not the commons");
    bench.run(&heart, "......");
    assert_eq!(bench.firing().len(), 1, "and now it was watched for long enough");

    bench.run(&heart, "xxxx");
    bench.now_ms += 600 * MIN; // The machine slept.
    bench.run(&heart, ".");
    assert_eq!(bench.firing(), [""; 0]);
}

#[test]
fn a_darkness_survives_a_restart_with_its_beginning() {
    let heart = item("heart", None);
    let mut bench = Bench::new(config());
    bench.run(&heart, "xxxxx");
    bench.run(&heart, &".".repeat(15));
    let saved = bench.inventory.save();

    let mut inventory = Inventory::new(config(), bench.now_ms);
    inventory.restore(&saved).unwrap();
    let mut bench = Bench { inventory, now_ms: bench.now_ms };
    bench.run(&heart, ".");

    let alerts = bench.inventory.alerts(bench.now_ms, "http://w");
    assert_eq!((alerts.len(), alerts[0].starts_at_ms), (1, 16 * MIN));
}

#[test]
fn what_is_declared_is_missed_before_it_was_ever_seen() {
    let expected = Expected {
        commons: "hub".to_owned(),
        service: None,
        signal: Signal::Logs,
        rhythm: HumanDuration::from_secs(30),
    };
    let mut bench = Bench::new(Config { expected: vec![expected], ..config() });
    let hub = item("hub", None);
    bench.run(&hub, "...");

    assert_eq!(bench.state(&hub), Some(ItemState::NeverSeen));
    bench.run(&hub, "x");
    bench.run(&hub, &".".repeat(11));
    assert_eq!(bench.state(&hub), Some(ItemState::Dark), "one sign of life is enough");
}

#[test]
fn maintenance_is_said_by_somebody() {
    let heart = item("heart", None);
    let mut bench = Bench::new(config());
    bench.run(&heart, "xxxxx");
    bench.run(&heart, &".".repeat(15));
    assert_eq!(bench.inventory.silent().count(), 1);

    bench.inventory.set_maintenance(|item| item.commons == "heart");
    assert_eq!(bench.state(&heart), Some(ItemState::InMaintenance));
    bench.inventory.set_maintenance(|_| false);
    assert_eq!(bench.state(&heart), Some(ItemState::Dark));
}

#[test]
fn a_commons_names_what_vanished_with_it() {
    let mut bench = Bench::new(config());
    let all = [item("heart", None), item("heart", Some("fence")), item("heart", Some("indexd"))];
    for minute in 1..20 {
        bench.now_ms = minute * MIN;
        let at_ms = bench.now_ms;
        let seen = all.iter().map(|item| Seen { item: item.clone(), at_ms });
        bench.inventory.look(if minute < 6 { seen.collect() } else { Vec::new() }, at_ms);
    }

    let alerts = bench.inventory.alerts(bench.now_ms, "http://w");

    assert_eq!(alerts.len(), 3);
    assert!(alerts[0].annotations["description"].ends_with("; with it fence, indexd"));
    assert_eq!(alerts[0].labels.get("alertname"), Some(COMMONS_ALERT));
    assert_eq!(alerts[1].labels.get("alertname"), Some(SERVICE_ALERT));
    bench.inventory.config.service_severity.clear();
    assert_eq!(bench.inventory.alerts(bench.now_ms, "http://w").len(), 1, "services keep silent");
}

#[test]
fn what_was_learned_is_forgotten_and_there_is_a_most() {
    let config = Config { items_max: 1, ..config() };
    let mut bench = Bench::new(config);
    bench.run(&item("heart", None), "xxxx");
    bench.run(&item("canine", None), "x");
    assert_eq!((bench.inventory.views().len(), bench.inventory.take_refused()), (1, 1));

    bench.now_ms += 8 * 24 * 60 * MIN;
    bench.run(&item("canine", None), "x");
    bench.inventory.forget(bench.now_ms);
    bench.run(&item("canine", None), "x");
    assert_eq!(bench.state(&item("heart", None)), None);
    assert_eq!(bench.state(&item("canine", None)), Some(ItemState::Reporting));
}

#[test]
fn a_service_waits_for_the_verdict_on_a_commons_that_fell_silent_with_it() {
    let (heart, fence) = (item("heart", None), item("heart", Some("fence")));
    let mut bench = Bench::new(config());
    let look = |bench: &mut Bench, who: &[&Item]| {
        bench.now_ms += MIN;
        let at_ms = bench.now_ms;
        let seen = who.iter().map(|item| Seen { item: (*item).clone(), at_ms }).collect();
        bench.inventory.look(seen, at_ms);
    };
    for _ in 0..10 {
        look(&mut bench, &[&fence]);
        look(&mut bench, &[&fence]);
        look(&mut bench, &[&heart, &fence]);
    }

    for _ in 0..15 {
        look(&mut bench, &[]);
    }
    assert_eq!(bench.state(&fence), Some(ItemState::Dark));
    assert_eq!(bench.firing(), [""; 0], "its commons may be about to say the same");
    for _ in 0..20 {
        look(&mut bench, &[]);
    }
    assert_eq!(bench.firing().len(), 2, "both, of which one inhibits the other");

    let mut alone = Bench::new(config());
    for _ in 0..10 {
        look(&mut alone, &[&heart, &fence]);
    }
    for _ in 0..15 {
        look(&mut alone, &[&heart]);
    }
    assert_eq!(alone.firing(), ["fence of heart sends no logs any more"], "its commons speaks on");
}
