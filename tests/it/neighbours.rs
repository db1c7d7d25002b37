//! A noisy neighbour: one commons sends twenty times what it may, and the others do not notice.
//!
//! Nothing timed decides the short form; `make overload` takes the long one, in which the others'
//! acknowledgements may be slower by a fifth at the 99th percentile, and no more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use commonwatch::base::clock::{Clock, SystemClock};

use crate::support::http::{Connection, Response};
use crate::support::wait::{now_ms, pause};
use crate::support::{Caller, Request, Setup, remote_write};

const LIMIT_PER_S: u64 = 5_000;
const TIMES_THE_LIMIT: u64 = 20;
const QUIET: [&str; 3] = ["heart", "lung", "liver"];
const QUIET_SAMPLES: u64 = 50;
const QUIET_EVERY: Duration = Duration::from_millis(50);
const NOISY_SAMPLES: u64 = 500;

fn token(commons: &str) -> String {
    format!("token-of-{commons}-0123456789")
}

fn config() -> String {
    let mut text = format!("[limits]\nrecords_per_second_per_commons = {LIMIT_PER_S}\n");
    for commons in QUIET.iter().chain(&["noisy"]) {
        text.push_str(&format!(
            "[[auth.tokens]]\nname = \"{commons}\"\ntoken = \"{}\"\ncommons = \"{commons}\"\n",
            token(commons)
        ));
    }
    text + "[[auth.tokens]]\nname = \"admin\"\nrole = \"admin\"\nread = [\"*\"]\nwrite = \"any\"\n\
            token = \"token-of-admin-0123456789\"\n"
}

fn is_long() -> bool {
    std::env::var("OVERLOAD").is_ok_and(|length| length == "long")
}

fn batch(caller: &Caller, metric: &str, n_samples: u64, number: u64) -> Request {
    let samples: Vec<(i64, f64)> =
        (0..n_samples).map(|n| (now_ms() - i64::try_from(n).expect("few"), 1.0)).collect();
    let labels = [("__name__", metric.to_owned()), ("n", (number % 64).to_string())];
    caller.sign(remote_write::write(vec![remote_write::series(&labels, &samples)]))
}

/// Sends for `length`, a request each `every`, and returns the answers with their times in ms.
fn sends(
    caller: &Caller,
    metric: &str,
    n_samples: u64,
    every: Duration,
    goes_on: &(dyn Fn(Duration) -> bool + Sync),
) -> Vec<(Response, f64)> {
    let clock = SystemClock::new();
    let mut connection = Connection::open(&caller.http).unwrap();
    let mut answers = Vec::new();
    for number in 0.. {
        let now = Duration::from_nanos(clock.monotonic_ns());
        if !goes_on(now) {
            break;
        }
        let due = every * u32::try_from(number).expect("a story is short");
        if due > now {
            pause(due - now);
        }
        let request = batch(caller, metric, n_samples, number);
        let start_ns = clock.monotonic_ns();
        let answer = connection.send(&request).unwrap();
        let ms = Duration::from_nanos(clock.monotonic_ns() - start_ns).as_secs_f64() * 1e3;
        answers.push((answer, ms));
    }
    answers
}

/// Sends as all quiet commons for `length`; returns how long their acknowledgements took, sorted.
fn quiet(callers: &[Caller], length: Duration) -> Vec<f64> {
    let mut times: Vec<f64> = std::thread::scope(|scope| {
        let senders: Vec<_> = callers
            .iter()
            .map(|caller| {
                scope.spawn(move || {
                    sends(caller, "quiet", QUIET_SAMPLES, QUIET_EVERY, &|now| now < length)
                })
            })
            .collect();
        let answers = senders.into_iter().flat_map(|sender| sender.join().unwrap());
        answers
            .map(|(answer, ms)| {
                assert_eq!(answer.status, 204, "a quiet commons: {}", answer.text());
                ms
            })
            .collect()
    });
    times.sort_by(f64::total_cmp);
    times
}

fn p99(sorted: &[f64]) -> f64 {
    sorted[(sorted.len() * 99 / 100).min(sorted.len() - 1)]
}

#[test]
fn a_commons_past_its_rate_is_told_so_and_the_others_are_served() {
    let length = Duration::from_secs(if is_long() { 60 } else { 4 });
    let server = Setup::new("neighbours").config(&config()).start();
    let callers: Vec<Caller> =
        QUIET.iter().map(|commons| server.caller_with(&token(commons))).collect();
    let noisy = server.caller_with(&token("noisy"));
    quiet(&callers, Duration::from_secs(1));

    let alone = quiet(&callers, length);
    let is_over = AtomicBool::new(false);
    let (beside, answers) = std::thread::scope(|scope| {
        let every =
            Duration::from_nanos(1_000_000_000 * NOISY_SAMPLES / (LIMIT_PER_S * TIMES_THE_LIMIT));
        let goes_on = |_| !is_over.load(Ordering::Relaxed);
        let noise = scope.spawn(move || sends(&noisy, "noisy", NOISY_SAMPLES, every, &goes_on));
        let beside = quiet(&callers, length);
        is_over.store(true, Ordering::Relaxed);
        (beside, noise.join().unwrap())
    });

    let n_taken = check_noisy(&answers);
    let ratio = p99(&beside) / p99(&alone);
    eprintln!(
        "neighbours: p99 {:.1} ms alone, {:.1} ms beside a commons that sent {} requests, {} of \
         them taken: {ratio:.2} times",
        p99(&alone),
        p99(&beside),
        answers.len(),
        n_taken,
    );
    if is_long() {
        assert!(ratio <= 1.2, "the others' p99 has grown to {ratio:.2} times");
    }
}

/// Returns how many requests were taken; the others must say why, when to come back, and what to do.
#[track_caller]
fn check_noisy(answers: &[(Response, f64)]) -> usize {
    let (taken, refused): (Vec<_>, Vec<_>) =
        answers.iter().map(|(answer, _)| answer).partition(|answer| answer.status == 204);
    assert!(!taken.is_empty() && !refused.is_empty(), "{} of {}", taken.len(), answers.len());
    for answer in refused {
        assert_eq!(answer.status, 429, "{}", answer.text());
        let retry_after = answer.header("retry-after").and_then(|text| text.parse::<u32>().ok());
        assert!(retry_after.is_some_and(|secs| secs >= 1), "{:?}", answer.headers);
        assert!(answer.text().contains("limits.records_per_second_per_commons"));
    }
    taken.len()
}
