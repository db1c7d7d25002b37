//! Hours of churn, many threads at once, and what a series costs.

use super::*;

#[test]
fn hours_of_churn_leave_memory_flat_and_refuse_nobody() {
    const ACTIVE: u32 = 500;
    const REPLACED: u32 = ACTIVE / 10;
    let (disk, clock) = (SimDisk::new(), ManualClock::at_ms(NOW_MS));
    let ten_minutes = HumanDuration::from_secs(600);
    let config = Config {
        flush_age: ten_minutes,
        series_idle: ten_minutes,
        // What was active within twenty minutes, and a little: see `storage.series_idle`.
        series_per_commons: usize::try_from(ACTIVE + 22 * REPLACED).unwrap(),
        ..Config::default()
    };
    let mut store = open_at(&disk, config, Arc::<ManualClock>::clone(&clock));
    let mut sizes = Vec::new();
    for minute in 0..360_u32 {
        let first = minute * REPLACED;
        let names: Vec<String> = (first..first + ACTIVE).map(|n| format!("m{n}")).collect();
        let samples: Vec<(&str, i64, f64)> =
            names.iter().map(|name| (name.as_str(), clock.now_ms(), 1.0)).collect();
        let part = store.samples("heart", &samples);
        store.engine.commit(vec![part]).unwrap();
        clock.advance(Duration::from_secs(60));
        if store.engine.wants_seal() {
            store.engine.seal().unwrap();
            assert!(flush::flush_oldest(&store.shared).unwrap());
        }
        while store.engine.retire() {}

        let registry = &store.shared.commons.get(0).registry;
        let n_series = u32::try_from(registry.read().len()).unwrap();
        let within = |minutes: u32| ACTIVE + minutes.min(minute) * REPLACED;
        assert!(within(9) <= n_series && n_series <= within(21), "minute {minute}: {n_series}");
        if minute % 60 == 59 {
            let raw_keys = store.shared.raw_keys.read();
            assert_eq!(raw_keys.len(), registry.read().len());
            registry.read().check();
            sizes.push(registry.read().size_bytes() + raw_keys.size_bytes());
        }
    }

    let total: u32 = ACTIVE + 359 * REPLACED;
    // Tables have grown to what they need in the second hour; from then on nothing is added.
    assert!(sizes[5] <= sizes[1] * 21 / 20, "{total} series passed through: {sizes:?}");
}

/// Reads over and over until told to stop: each value tells which series it is of.
fn read_all_the_time(storage: &Storage, is_over: &std::sync::atomic::AtomicBool) -> usize {
    let mut n_reads = 0;
    while !is_over.load(Ordering::Relaxed) {
        let snapshot = storage.snapshot(&ReadScope::All);
        for ((text, ms), bits) in select(&snapshot, &[Matcher::equal("job", "j")]) {
            let want = labels("heart", number_of(f64::from_bits(bits))).to_string();
            assert_eq!(text, want, "at {ms}");
        }
        for batch in snapshot.head(Signal::Metrics, HeadFilter::default()) {
            assert!(batch.batch.num_rows() > 0);
        }
        n_reads += 1;
    }
    n_reads
}

struct SetWhenDropped<'a>(&'a std::sync::atomic::AtomicBool);

impl Drop for SetWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The series of a value that [`many_threads_at_once_never_take_one_series_for_another`] sends.
fn number_of(value: f64) -> u32 {
    (0..64).find(|&n| (f64::from(n) - value).abs() < 0.5).expect("such values are sent")
}

#[test]
fn many_threads_at_once_never_take_one_series_for_another() {
    let (disk, clock) = (SimDisk::new(), ManualClock::at_ms(NOW_MS));
    let mut store = open_at(&disk, config(), Arc::<ManualClock>::clone(&clock));
    let storage = store.storage.clone();
    let is_over = std::sync::atomic::AtomicBool::new(false);
    let mut rng = SmallRng::seed_from_u64(7);
    std::thread::scope(|scope| {
        let readers = [0, 1].map(|_| scope.spawn(|| read_all_the_time(&storage, &is_over)));
        let registrar = scope.spawn(|| {
            let (name, meta) = (commons("heart"), SeriesMeta::default());
            let mut n: u32 = 0;
            while !is_over.load(Ordering::Relaxed) {
                let labels = labels("heart", n % 64);
                let key = u128::from(labels.series_id());
                storage.register(key, &name, &labels, &meta).unwrap();
                n += 1;
            }
        });
        // However this ends, the others must not go on for ever.
        let ending = SetWhenDropped(&is_over);
        for round in 0..200_i64 {
            let epoch = storage.lookup(&[], &mut Vec::new());
            let (name, meta) = (commons("heart"), SeriesMeta::default());
            for _ in 0..8 {
                let n = rng.random_range(0..64_u32);
                let labels = labels("heart", n);
                let key = u128::from(labels.series_id());
                let series = storage.register(key, &name, &labels, &meta).unwrap();
                let part = Part::Samples {
                    commons_idx: series.commons_idx,
                    epoch,
                    series_idx: vec![series.series_idx],
                    timestamps_ms: vec![NOW_MS + round],
                    values: vec![f64::from(n)],
                    starts_ns: Vec::new(),
                };
                if store.engine.may_commit(std::slice::from_ref(&part)) {
                    store.engine.commit(vec![part]).unwrap();
                }
                store.engine.retire();
            }
            if round % 4 == 0 {
                store.engine.seal().unwrap();
                while flush::flush_oldest(&store.shared).unwrap() {}
                clock.advance(IDLE);
                while store.engine.retire() {}
            }
        }
        drop(ending);
        registrar.join().unwrap();
        let n_reads: usize = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        assert!(n_reads > 0);
    });
    store.shared.commons.get(0).registry.read().check();
}

/// Twelve labels as agents on Kubernetes set them; 50 metrics of a pod share all but one.
fn twelve_labels(n: u32) -> Labels {
    let pod = n / 50;
    let (metric, name) = (format!("http_server_requests_{}_total", n % 50), format!("fence-{pod}"));
    let address = format!("10.0.{}.{}:9102", pod / 250, pod % 250);
    Labels::from_pairs([
        ("__name__", metric.as_str()),
        ("app", "fence"),
        ("cluster", "production"),
        ("commons", "heart"),
        ("container", "fence"),
        ("instance", &address),
        ("job", "integrations/autodiscovery_metrics"),
        ("method", "GET"),
        ("namespace", "default"),
        ("pod", &name),
        ("release", "production"),
        ("service", "fence"),
    ])
}

#[test]
fn an_active_series_costs_at_most_400_bytes_beside_its_labels() {
    const N: u32 = 20_000;
    let store = open_at(&SimDisk::new(), Config::default(), ManualClock::at_ms(NOW_MS));
    let mut engine = store.engine;
    let (name, meta) = (commons("heart"), SeriesMeta::default());
    let mut n_label_bytes = 0;
    let series_idx = (0..N).map(|n| {
        let labels = twelve_labels(n);
        n_label_bytes += labels.packed().len();
        let key = u128::from(labels.series_id()) << 3;
        store.storage.register(key, &name, &labels, &meta).unwrap().series_idx
    });
    let part = Part::Samples {
        commons_idx: 0,
        epoch: Epoch::FIRST,
        series_idx: series_idx.collect(),
        timestamps_ms: vec![NOW_MS; N as usize],
        values: vec![1.0; N as usize],
        starts_ns: Vec::new(),
    };
    engine.commit(vec![part]).unwrap();

    let per_series = |n_bytes: usize| n_bytes / N as usize;
    let registry = per_series(store.shared.commons.get(0).registry.read().size_bytes());
    let raw_keys = per_series(store.shared.raw_keys.read().size_bytes());
    let head_bytes = usize::try_from(store.shared.version.read().head_bytes()).unwrap();
    let (head, labels) = (per_series(head_bytes), per_series(n_label_bytes));
    let beside = registry - labels + raw_keys + head;
    eprintln!("registry {registry}, of it labels {labels}; raw keys {raw_keys}; head {head}");
    assert!(beside <= 400, "{beside} bytes a series beside its labels");
}
