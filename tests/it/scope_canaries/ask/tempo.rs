//! TraceQL, traces by their ids, and what else Tempo's API tells of spans.

use rand::Rng as _;
use rand::rngs::SmallRng;

use super::{Question, any_commons, any_word, pick};
use crate::scope_canaries::world::World;
use crate::support::Request;
use crate::support::ask::form;

fn filter(world: &World, rng: &mut SmallRng) -> String {
    match rng.random_range(0..7) {
        0 => "{ span.secret =~ \"canary.*\" }".to_owned(),
        1 => format!("{{ resource.commons = \"{}\" }}", any_commons(world, rng)),
        2 => format!("{{ span.secret != \"{}\" }}", any_word(world, rng)),
        3 => "{ name =~ \"work.*\" } && { duration > 1us }".to_owned(),
        4 => "{ rootServiceName = \"s\" }".to_owned(),
        _ => "{ }".to_owned(),
    }
}

/// Every trace of the world has a span of each commons, so rows do not say whose they are.
pub(super) fn any(world: &World, rng: &mut SmallRng) -> Question {
    let start = (world.start_ms / 1_000 - 600).to_string();
    let end = (world.start_ms / 1_000 + 1_200).to_string();
    let filter = filter(world, rng);
    let select = pick(rng, &["", " | select(span.secret, resource.secret.resource)"]);
    let by = pick(rng, &["", " by (span.secret)", " by (name, resource.commons)"]);
    let (path, query) = match rng.random_range(0..8) {
        0 => (world.any_trace(rng), String::new()),
        1..4 => ("search".to_owned(), format!("{filter}{select}")),
        4 => ("metrics/query_range".to_owned(), format!("{filter} | count_over_time(){by}")),
        5 => ("metrics/query".to_owned(), format!("{filter} | rate(){by}")),
        6 => ("v2/search/tags".to_owned(), filter),
        _ => {
            (pick(rng, &["v2/search/tag/span.secret/values", "v2/search/tag/name/values"]), filter)
        }
    };
    let parameters = [("q", query.as_str()), ("start", &start), ("end", &end), ("limit", "100")];
    let text = format!("{path} {query}");
    let target = format!("/tempo/api/{path}?{}", form(&parameters));
    Question { request: Request::get(target), text, rows: None }
}
