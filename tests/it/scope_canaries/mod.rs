//! No answer shows a byte of a commons that the asker may not read, in any dialect.
//!
//! Six commons each send a secret in label values, label and metric names, log bodies and span
//! attributes, half of it into files and half into the head. Questions made from a seed (`ask`) are
//! put under twenty random scopes. Two claims are held against each answer: it has no secret and no
//! name of a commons outside its scope, and, where its rows say whose they are, it is the answer of
//! someone who may read everything, with the other rows taken out.
//!
//! `COMMONWATCH_CANARY_QUERIES` and `COMMONWATCH_CANARY_SEED` make it longer and other; a question
//! is made from the seed and its number alone, so a failure replays exactly.

mod ask;
mod world;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use ask::{Question, Rows};
use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use world::{Scope, World};

use crate::support::http::Response;

const QUERIES: usize = 500;
const SEED: u64 = 20_261_121;

fn number_of(variable: &str, default: u64) -> u64 {
    let given = std::env::var(variable).ok();
    given.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

/// What came of one question.
#[derive(Debug, Default)]
struct Outcome {
    /// Whether the answer of who may read all had something that the scope must not show.
    reveals: bool,
    /// Whether the rows were compared.
    is_compared: bool,
    fault: Option<String>,
}

#[test]
fn no_answer_shows_a_foreign_byte_and_each_is_the_whole_one_filtered() {
    let seed = number_of("COMMONWATCH_CANARY_SEED", SEED);
    let n_queries =
        usize::try_from(number_of("COMMONWATCH_CANARY_QUERIES", QUERIES as u64)).unwrap();
    let world = World::start(seed);
    let next = AtomicUsize::new(0);

    let outcomes: Vec<Outcome> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut outcomes = Vec::new();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= n_queries {
                            return outcomes;
                        }
                        outcomes.push(judge(&world, seed, number));
                    }
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });

    let faults: Vec<&str> = outcomes.iter().filter_map(|one| one.fault.as_deref()).collect();
    let n_revealing = outcomes.iter().filter(|one| one.reveals).count();
    let n_compared = outcomes.iter().filter(|one| one.is_compared).count();
    println!(
        "{n_queries} questions under {} scopes, seed {seed}: {n_revealing} that show secrets to who \
         may read all, {n_compared} compared row by row, {} faults",
        world.scopes.len(),
        faults.len()
    );
    assert!(
        faults.is_empty(),
        "{} of {n_queries}, seed {seed}:\n{}",
        faults.len(),
        faults.join("\n")
    );
    // Questions that show nothing to anyone would prove nothing.
    assert!(
        n_revealing * 3 > n_queries,
        "only {n_revealing} of {n_queries} could have shown a secret"
    );
    assert!(n_compared * 3 > n_queries, "only {n_compared} of {n_queries} were compared");
}

fn judge(world: &World, seed: u64, number: usize) -> Outcome {
    let mut rng =
        SmallRng::seed_from_u64(seed ^ (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let scope = world.any_scope(&mut rng);
    let question = Question::any(world, &mut rng);
    let seen = scope.caller.send(question.request.clone());
    let all = world.everything.send(question.request.clone());
    let foreign = foreign_bytes(world, scope, &question);
    let said = format!("{:?} {}", seen.headers, unpacked(&seen));
    let shown: Vec<&String> = foreign.iter().filter(|word| said.contains(*word)).collect();
    let mut outcome = Outcome {
        reveals: foreign.iter().any(|word| unpacked(&all).contains(word)),
        ..Outcome::default()
    };
    let told = |what: String| {
        Some(format!("#{number} {} under {:?}: {what}", question.text, scope.commons))
    };
    if !shown.is_empty() {
        outcome.fault = told(format!("shows {shown:?}: {}", start_of(&said)));
        return outcome;
    }
    if seen.status >= 500 || all.status >= 500 {
        let what = format!("{} and {} for all: {}", seen.status, all.status, start_of(&all.text()));
        outcome.fault = told(what);
        return outcome;
    }
    let Some(rows) = question.rows else { return outcome };
    if seen.status != 200 || all.status != 200 {
        let what = format!("got {} {}, all got {}", seen.status, start_of(&said), all.status);
        outcome.fault = told(what);
        return outcome;
    }
    outcome.is_compared = true;
    let seen = sorted(rows, &seen.text(), None);
    let wanted = sorted(rows, &all.text(), Some(&scope.commons));
    if seen != wanted {
        let missing: Vec<_> = wanted.iter().filter(|row| !seen.contains(row)).take(2).collect();
        let extra: Vec<_> = seen.iter().filter(|row| !wanted.contains(row)).take(2).collect();
        outcome.fault = told(format!(
            "{} rows, filtered {}; missing {missing:?}; extra {extra:?}",
            seen.len(),
            wanted.len()
        ));
    }
    outcome
}

/// Returns what an answer says, decompressed if need be.
fn unpacked(answer: &Response) -> String {
    match answer.header("content-encoding") {
        Some("snappy") => {
            let bytes = snap::raw::Decoder::new().decompress_vec(&answer.body).unwrap();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        _ => answer.text(),
    }
}

/// Returns every secret and name of the commons outside the scope. What the question itself names
/// may come back in an error, so it is left out.
fn foreign_bytes(world: &World, scope: &Scope, question: &Question) -> Vec<String> {
    let foreign = world.commons.iter().filter(|one| !scope.commons.contains(&one.name));
    let words = foreign.flat_map(|one| [one.name.clone(), one.secret.clone()]);
    words.filter(|word| !question.text.contains(word.as_str())).collect()
}

/// Returns an answer's rows as texts, sorted; only those of some commons if so wished.
fn sorted(rows: Rows, answer: &str, only: Option<&BTreeSet<String>>) -> Vec<String> {
    let all = rows.of(answer).into_iter();
    let kept = all.filter(|(commons, _)| only.is_none_or(|only| only.contains(commons)));
    let mut kept: Vec<String> = kept.map(|(_, row)| row).collect();
    kept.sort_unstable();
    kept
}

fn start_of(text: &str) -> String {
    text.chars().take(300).collect()
}
