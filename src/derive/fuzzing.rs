//! What must hold of any log line: the metrics made of it are ours by name, bounded in number, and
//! numbers.

use std::sync::{Arc, LazyLock};

use super::{Config, Derive, Metrics, lines};
use crate::base::ManualClock;
use crate::model::{Commons, Tags};
use crate::tagging::{self, Tagger};

/// Whose lines they may be.
const SERVICES: [Option<&str>; 16] = [
    Some("revproxy"),
    Some("fence"),
    Some("job:usersync"),
    None,
    Some("portal"),
    Some("audit"),
    Some("arborist"),
    Some("guppy"),
    Some("hatchery"),
    Some("ssjdispatcher"),
    Some("sower"),
    Some("job:etl-cronjob"),
    Some("job:workspace-launch-test"),
    Some("metadata"),
    Some("presigned-url-fence"),
    Some("indexd"),
];

/// One line, read as whoever may have written it: what is given are pieces of it, and numbers.
pub fn line_read(bytes: &[u8]) {
    let body = String::from_utf8_lossy(bytes);
    let ours = body.as_bytes().as_ptr_range();
    let is_piece = |text: &str| {
        let text = text.as_bytes().as_ptr_range();
        text.is_empty() || (ours.start <= text.start && text.end <= ours.end)
    };
    for is_edge in [true, false] {
        let line = lines::read(&body, is_edge);
        assert!(["debug", "info", "warn", "error", "unknown"].contains(&line.level), "{line:?}");
        assert!(is_piece(line.logger) && is_piece(line.message), "{line:?}");
        if let Some(request) = line.request {
            let texts = [request.verb, request.path, request.upstream, request.proxy_service];
            assert!(texts.into_iter().chain([request.user]).flatten().all(is_piece), "{line:?}");
            let numbers = [request.duration_s, request.size_bytes];
            let is_size = |number: &f64| number.is_finite() && *number >= 0.0;
            assert!(numbers.iter().flatten().all(is_size), "{line:?}");
        }
        assert_eq!(lines::ReadLine::of(&line, &body).line(&body), line, "kept as it was read");
        if let Some(test) = line.launch_test {
            assert!(is_piece(test.image) && is_piece(test.result), "{line:?}");
        }
    }
}

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
        let service = SERVICES[usize::from(*whose) % SERVICES.len()].map(Arc::from);
        let tags = Tags { commons: commons.clone(), service, ..Tags::unassigned() };
        let time_ns = 1_800_000_000_000_000_000 + n_lines;
        let line = String::from_utf8_lossy(line);
        let read = derive.read_line(&tags, None, &line);
        derive.observe_log(&tags, time_ns, "{}", &line, &read);
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
