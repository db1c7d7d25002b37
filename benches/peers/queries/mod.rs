//! What questions cost: twenty of dashboards and rules, asked of each server as it was loaded (the
//! newest samples in memory), and after a restart with nothing in the kernel's cache.
//!
//! 20,000 series over two and a half hours by default, 100,000 over six with `PEERS=long`;
//! `QUERY_SERIES` and `QUERY_HOURS` choose others, `QUERY_ONLY` some of the questions. A time counts only when the answer is that of
//! Prometheus. Ours writes files about once an hour of samples, as it does with a real clock. Our
//! commons comes from `hostname`, that of the others is a label that says the same.

mod answer;
mod ask;
mod list;

use std::io;
use std::time::Duration;

use super::Plan;
use super::table::{Aim, Row};
use crate::ingest::run::start_ms;
use crate::load::fleet;
use crate::load::remote_write::INTERVAL_MS;
use crate::load::send::{pause, send};
use crate::servers::{Kind, Server};
use answer::Answer;
pub(super) use ask::encoded;
use ask::{Asker, Took};
use list::{Class, OfVm, Question};

const N_COMMONS: u64 = 10;
/// What an hour of a series' samples takes in our memory.
const HEAD_BYTES_PER_SERIES: u64 = 524;
/// The questions are about a moment so long after the last sample: at the very time of a sample,
/// Prometheus 2.42 counts those at both ends of a window.
const AFTER_LAST_S: u64 = 7;
/// Sums of the same numbers in another order.
const SAME: f64 = 1e-9;
/// As [`OfVm::Near`] says.
const NEAR: f64 = 0.1;

/// What one server took for one question.
struct Figures {
    warm: Took,
    cold: Took,
    restarted: Took,
    answer: Answer,
}

/// Loads each server, asks, and adds a row for each question.
pub(super) fn measure(plan: &Plan<'_>, rows: &mut Vec<Row>) -> io::Result<()> {
    let n_series = number("QUERY_SERIES", if plan.is_long { 100_000 } else { 20_000 })?;
    let length_s = hours_s(plan.is_long)?;
    let n_rounds = length_s * 1000 / INTERVAL_MS;
    let start_ms = start_ms(&fleet::load(n_series, n_rounds, N_COMMONS));
    let mut questions = list::questions(length_s);
    if let Ok(part) = std::env::var("QUERY_ONLY") {
        questions.retain(|question| question.name.contains(&part));
    }
    let what = format!("queries: {n_series} series, {length_s} s");
    let all = plan.each(&what, |kind| of_server(kind, n_series, n_rounds, start_ms, &questions))?;
    check(&questions, &all)?;
    print_rows(&questions, &all, rows);
    Ok(())
}

fn of_server(
    kind: Kind,
    n_series: u64,
    n_rounds: u64,
    start_ms: u64,
    questions: &[Question],
) -> io::Result<Vec<Figures>> {
    let soft = n_series * HEAD_BYTES_PER_SERIES;
    let server = Server::start_with(kind, &format!("{soft}B"))?;
    let mut load = fleet::load(n_series, n_rounds, N_COMMONS);
    let address = server.address(load.port).to_owned();
    send(&mut load, &address, 0..1 + n_rounds, start_ms)?;
    server.settle()?;
    let end_s = (start_ms + n_rounds * INTERVAL_MS) / 1000 + AFTER_LAST_S;
    let mut asker = Asker::connect(&server, start_ms / 1000, end_s)?;
    let mut warm = Vec::new();
    for question in questions {
        let (_, answer) = once_there(&mut asker, &server, question)?;
        warm.push((asker.often(&server, question)?, answer));
    }
    let server = server.restart_cold()?;
    let mut asker = Asker::connect(&server, start_ms / 1000, end_s)?;
    let mut cold = Vec::new();
    for question in questions {
        cold.push(asker.once(&server, question)?);
    }
    server.settle()?;
    let mut figures = Vec::new();
    for ((question, (warm, answer)), (cold, after)) in questions.iter().zip(warm).zip(cold) {
        if let Some(difference) = answer.difference(&after, SAME) {
            eprintln!("==> {}: after a restart, {}: {difference}", kind.name(), question.name);
        }
        let restarted = asker.often(&server, question)?;
        figures.push(Figures { warm, cold, restarted, answer });
    }
    Ok(figures)
}

/// A server may take a moment to show what it took.
fn once_there(
    asker: &mut Asker,
    server: &Server,
    question: &Question,
) -> io::Result<(Took, Answer)> {
    let mut found = asker.once(server, question)?;
    for _ in 0..50 {
        if found.1.len() > 0 {
            break;
        }
        pause(Duration::from_millis(200));
        found = asker.once(server, question)?;
    }
    Ok(found)
}

/// Fails where ours and Prometheus say different things; VictoriaMetrics' answers are compared as far
/// as it means the same.
fn check(questions: &[Question], all: &[Option<Vec<Figures>>; 3]) -> io::Result<()> {
    let of =
        |kind: Kind, idx: usize| all[kind as usize].as_ref().map(|figures| &figures[idx].answer);
    let mut wrong = Vec::new();
    for (idx, question) in questions.iter().enumerate() {
        for kind in Kind::ALL {
            if of(kind, idx).is_some_and(|answer| answer.len() == 0) {
                wrong.push(format!("{} of {}: no answer", question.name, kind.name()));
            }
        }
        let Some(ours) = of(Kind::Commonwatch, idx) else { continue };
        let prometheus = of(Kind::Prometheus, idx).and_then(|theirs| ours.difference(theirs, SAME));
        wrong.extend(
            prometheus.map(|text| format!("{}, ours and Prometheus: {text}", question.name)),
        );
        let vm = of(Kind::VictoriaMetrics, idx).and_then(|theirs| match question.of_vm {
            OfVm::Same => ours.difference(theirs, SAME),
            OfVm::Near => ours.difference(theirs, NEAR),
            OfVm::Loose => ours.difference_of_sums(theirs, NEAR),
        });
        wrong.extend(vm.map(|text| format!("{}, ours and VictoriaMetrics: {text}", question.name)));
    }
    match wrong.as_slice() {
        [] => Ok(()),
        _ => Err(io::Error::other(format!("the answers differ:\n{}", wrong.join("\n")))),
    }
}

fn print_rows(questions: &[Question], all: &[Option<Vec<Figures>>; 3], rows: &mut Vec<Row>) {
    let row = |what: &str, unit, idx: usize, of: fn(&Figures) -> f64| {
        let values =
            [0, 1, 2].map(|kind: usize| all[kind].as_ref().map(|figures| of(&figures[idx])));
        Row::new(what, unit, values)
    };
    for (idx, question) in questions.iter().enumerate() {
        let warm = row(question.name, "CPU ms", idx, |figures| figures.warm.cpu_ms);
        let is_instant = question.class == Class::Instant;
        rows.push(if is_instant { warm.aim(Aim::OfBetterPeer) } else { warm });
    }
    for (idx, question) in questions.iter().enumerate() {
        rows.push(row(question.name, "p50 ms", idx, |figures| figures.warm.p50_ms));
    }
    for (idx, question) in questions.iter().enumerate() {
        let cold = format!("cold, {}", question.name);
        rows.push(row(&cold, "ms", idx, |figures| figures.cold.p50_ms));
    }
    for (idx, question) in questions.iter().enumerate() {
        let again = format!("restarted, {}", question.name);
        rows.push(row(&again, "CPU ms", idx, |figures| figures.restarted.cpu_ms));
    }
    for (name, class) in
        [("instant", Class::Instant), ("range", Class::Range), ("label", Class::Labels)]
    {
        let mean = |of: fn(&Figures) -> f64| {
            [0, 1, 2].map(|kind: usize| {
                let figures = all[kind].as_ref()?.iter().zip(questions);
                let of_class = figures.filter(|(_, question)| question.class == class);
                Some(geometric_mean(of_class.map(|(figures, _)| of(figures))))
            })
        };
        let of_warm = Row::new(&format!("{name} queries: mean"), "CPU ms", mean(|f| f.warm.cpu_ms));
        rows.push(match class {
            Class::Range => of_warm.aim(Aim::OfVictoriaMetrics(1.0)).aim(Aim::OfPrometheus(0.2)),
            _ => of_warm,
        });
        let what = format!("{name} queries, restarted: mean");
        rows.push(Row::new(&what, "CPU ms", mean(|f| f.restarted.cpu_ms)));
        let what = format!("{name} queries, cold: mean");
        rows.push(Row::new(&what, "ms", mean(|f| f.cold.p50_ms)));
    }
}

fn geometric_mean(values: impl Iterator<Item = f64>) -> f64 {
    let logs: Vec<f64> = values.map(|value| value.max(1e-3).ln()).collect();
    #[expect(clippy::cast_precision_loss, reason = "twenty at most")]
    let n = logs.len().max(1) as f64;
    (logs.iter().sum::<f64>() / n).exp()
}

fn number(name: &str, default: u64) -> io::Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().map_err(|_| io::Error::other(format!("{name}={text}: a number?"))),
        Err(_) => Ok(default),
    }
}

fn hours_s(is_long: bool) -> io::Result<u64> {
    match std::env::var("QUERY_HOURS") {
        Ok(text) => {
            let hours: f64 =
                text.parse().map_err(|_| io::Error::other("QUERY_HOURS: a number?"))?;
            let length = Duration::try_from_secs_f64(hours * 3_600.0).map_err(io::Error::other)?;
            Ok(length.as_secs() / 300 * 300)
        }
        Err(_) => Ok(if is_long { 21_600 } else { 9_000 }),
    }
}

/// Rules of a tick.
const N_RULES: u64 = 1_000;
/// How long ours is watched while it evaluates, and while it does not.
const WATCHED: Duration = Duration::from_secs(30);

/// A thousand selective rules, evaluated by ours, and asked of Prometheus one by one.
pub(super) fn rules(plan: &Plan<'_>, rows: &mut Vec<Row>) -> io::Result<()> {
    let n_series = number("QUERY_SERIES", if plan.is_long { 100_000 } else { 20_000 })?;
    let all =
        plan.each(&format!("rules: {N_RULES} over {n_series} series"), |kind| match kind {
            Kind::Commonwatch => of_our_rules(n_series),
            _ => of_their_queries(kind, n_series),
        })?;
    let row = Row::new("1,000 selective rules", "CPU ms", all);
    rows.push(row.aim(Aim::OfPrometheus(0.3)));
    Ok(())
}

fn rule(number: u64) -> String {
    format!("sum(rate({}[5m])) > 1e12", fleet::selective(number, N_COMMONS))
}

/// The last samples are of now, because rules ask about now.
fn load_until_now(server: &Server, n_series: u64) -> io::Result<u64> {
    let n_rounds = 40;
    let mut load = fleet::load(n_series, n_rounds, N_COMMONS);
    let start_ms = start_ms(&load) + 60_000;
    let address = server.address(load.port).to_owned();
    send(&mut load, &address, 0..1 + n_rounds, start_ms)?;
    server.settle()?;
    Ok((start_ms + n_rounds * INTERVAL_MS) / 1000)
}

fn of_our_rules(n_series: u64) -> io::Result<f64> {
    let mut text = "groups:\n- name: bench\n  interval: 5s\n  rules:\n".to_owned();
    for number in 0..N_RULES {
        let expr = rule(number);
        text.push_str(&format!("  - alert: Bench{number}\n    expr: '{expr}'\n"));
    }
    let watch = |server: &Server| -> io::Result<(f64, f64)> {
        let counter = "commonwatch_rules_evaluations_total";
        let (cpu_s, n) = (server.process().cpu_s()?, server.counted(counter)?);
        pause(WATCHED);
        Ok((server.process().cpu_s()? - cpu_s, server.counted(counter)? - n))
    };
    let server = Server::start_with_rules(Kind::Commonwatch, "groups: []\n")?;
    load_until_now(&server, n_series)?;
    let (idle_s, _) = watch(&server)?;
    drop(server);
    let server = Server::start_with_rules(Kind::Commonwatch, &text)?;
    load_until_now(&server, n_series)?;
    let (busy_s, n) = watch(&server)?;
    if n < 1_000.0 {
        return Err(io::Error::other(format!("only {n} rules were evaluated")));
    }
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let n_rules = N_RULES as f64;
    Ok((busy_s - idle_s) * 1e3 / n * n_rules)
}

fn of_their_queries(kind: Kind, n_series: u64) -> io::Result<f64> {
    let server = Server::start(kind)?;
    let end_s = load_until_now(&server, n_series)?;
    let mut getter = crate::load::http::Getter::connect(server.address(crate::load::Port::Http))?;
    let mut tick = || -> io::Result<f64> {
        let before_s = server.process().cpu_s()?;
        for number in 0..N_RULES {
            let query = ask::encoded(&rule(number));
            getter.get(&format!("/api/v1/query?query={query}&time={}&nocache=1", end_s + 7))?;
        }
        Ok((server.process().cpu_s()? - before_s) * 1e3)
    };
    tick()?;
    let ticks = [tick()?, tick()?, tick()?];
    Ok(ticks.iter().sum::<f64>() / 3.0)
}
