//! The relations against what their definition says, span by span, on random traces; the seed is
//! printed and replays.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::super::ast::SPANSET_OPS;
use super::super::ast::{Form, Relation, SpansetOp};
use super::*;

/// A trace whose spans hang on earlier and later ones, on missing ones, and now and then in a ring.
fn random_trace(rng: &mut SmallRng) -> Vec<Given> {
    let n_spans = rng.random_range(1..14);
    let id = |number: usize| format!("s{number:02}");
    (0..n_spans)
        .map(|number| {
            let parent = match rng.random_range(0..10) {
                0 => "-".to_owned(),
                1 => "missing".to_owned(),
                _ => id(rng.random_range(0..n_spans)),
            };
            let marks = format!("a={} b={}", rng.random_bool(0.4), rng.random_bool(0.4));
            given(&format!("{} {parent} x at={}ms {marks}", id(number), number + 1))
        })
        .collect()
}

/// Returns true when `b` stands in the relation to `a`.
fn stands(relation: Relation, spans: &[Given], a: usize, b: usize) -> bool {
    let parent =
        |of: usize| spans.iter().position(|s| s.id == spans[of].parent && s.id != spans[of].id);
    let is_above = |up: usize, down: usize| {
        let mut at = down;
        for _ in 0..spans.len() {
            match parent(at) {
                Some(next) if next == up => return true,
                Some(next) => at = next,
                None => return false,
            }
        }
        false
    };
    match relation {
        Relation::Child => parent(b) == Some(a),
        Relation::Parent => parent(a) == Some(b),
        Relation::Descendant => is_above(a, b),
        Relation::Ancestor => is_above(b, a),
        Relation::Sibling => {
            a != b && !spans[a].parent.is_empty() && spans[a].parent == spans[b].parent
        }
    }
}

fn naive(op: SpansetOp, spans: &[Given], lhs: &[usize], rhs: &[usize]) -> Vec<usize> {
    let is_in = |list: &[usize], span: &usize| list.contains(span);
    let all = 0..spans.len();
    match op {
        SpansetOp::And if lhs.is_empty() || rhs.is_empty() => Vec::new(),
        SpansetOp::And | SpansetOp::Or => {
            all.filter(|span| is_in(lhs, span) || is_in(rhs, span)).collect()
        }
        SpansetOp::Related(relation, form) => {
            let to_left = |b: usize| lhs.iter().any(|a| stands(relation, spans, *a, b));
            let from_right = |a: usize| rhs.iter().any(|b| stands(relation, spans, a, *b));
            let is_meant = |span: &usize| match form {
                Form::Plain => is_in(rhs, span) && to_left(*span),
                Form::Negated => is_in(rhs, span) && !to_left(*span),
                Form::Union => {
                    (is_in(rhs, span) && to_left(*span)) || (is_in(lhs, span) && from_right(*span))
                }
            };
            all.filter(is_meant).collect()
        }
    }
}

#[test]
fn relations_are_what_their_definition_says() {
    for seed in 0..300 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let spans = random_trace(&mut rng);
        let trace = trace_of(&spans);
        let marked = |mark: &str| -> Vec<usize> {
            let is_marked = |place: &usize| spans[*place].attributes.contains(mark);
            (0..spans.len()).filter(is_marked).collect()
        };
        let (lhs, rhs) = (marked("\"a\":true"), marked("\"b\":true"));
        for (symbol, op) in SPANSET_OPS {
            let want: Vec<&str> =
                naive(op, &spans, &lhs, &rhs).into_iter().map(|at| spans[at].id.as_str()).collect();
            let want = if want.is_empty() { "nothing".to_owned() } else { want.join(" ") };

            let found = answer(&format!("{{ .a = true }} {symbol} {{ .b = true }}"), &trace);

            assert_eq!(found, Ok(want), "seed {seed}, {symbol}: {spans:?}");
        }
    }
}
