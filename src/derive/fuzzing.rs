//! What must hold of any log line: the metrics made of it are ours by name, bounded in number, and
//! numbers.

use std::sync::{Arc, LazyLock};

use super::{Config, Derive, Metrics};
use crate::base::ManualClock;
use crate::model::{Commons, Tags};
use crate::tagging::{self, Tagger};

/// Lines, the first byte of each saying whose they are.
pub fn derive_lines(bytes: &[u8]) {
    static TAGGER: LazyLock<Arc<Tagger>> = LazyLock::new(|| {
        let loaded = Tagger::load(&tagging::Config::default());
        Arc::new(loaded.expect("the data files that are built in can be read"))
    });
    let clock = ManualClock::at_ms(1_800_000_000_000);
    let config =
        Config { series_per_commons_max: 50, routes_per_commons_max: 5, ..Config::default() };
    let derive = Derive::new(config, Arc::clone(&TAGGER), clock, Metrics::default());
    let commons = Commons::new("heart.example").expect("a name");
    let mut n_lines = 0;
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some((whose, line)) = line.split_first() else { continue };
        let service = match whose % 4 {
            0 => Some(Arc::from("revproxy")),
            1 => Some(Arc::from("fence")),
            2 => Some(Arc::from("job:usersync")),
            _ => None,
        };
        let tags = Tags { commons: commons.clone(), service, ..Tags::unassigned() };
        let time_ns = 1_800_000_000_000_000_000 + n_lines;
        derive.observe_log(&tags, None, time_ns, &String::from_utf8_lossy(line));
        n_lines += 1;
    }
    let samples = derive.collect();
    // A bound says how many series there are; those that did not fit are counted in one more each.
    assert!(samples.len() <= 50 + 32, "{} series", samples.len());
    for sample in samples {
        assert!(sample.labels.metric().starts_with("csoc_"), "{}", sample.labels);
        assert!(
            sample.value.is_finite() && sample.value >= 0.0,
            "{} {}",
            sample.labels,
            sample.value
        );
    }
}
