//! LogQL, and what else Loki's API tells of streams.

use rand::Rng as _;
use rand::rngs::SmallRng;

use super::{Question, Rows, any_commons, any_word, pick};
use crate::scope_canaries::world::World;
use crate::support::Request;
use crate::support::ask::form;

fn selector(world: &World, rng: &mut SmallRng) -> String {
    let matcher = match rng.random_range(0..6) {
        0 => format!("commons=\"{}\"", any_commons(world, rng)),
        1 => format!("commons!=\"{}\"", any_commons(world, rng)),
        2 => format!("commons=~\"{}|{}\"", any_commons(world, rng), any_commons(world, rng)),
        3 => "service_name=\"s\"".to_owned(),
        4 => "commons=~\".+\"".to_owned(),
        _ => "service_name=~\"s.*\"".to_owned(),
    };
    format!("{{{matcher}}}")
}

fn stages(world: &World, rng: &mut SmallRng) -> String {
    match rng.random_range(0..7) {
        0 => " |= \"canary\"".to_owned(),
        1 => format!(" != \"{}\"", any_word(world, rng)),
        2 => " |~ \"line [0-4]\"".to_owned(),
        3 => " | secret_resource=~\"canary.*\"".to_owned(),
        4 => " | pattern \"<_> <n> <who>\"".to_owned(),
        5 => " | detected_level=~\"info|warn\" | line_format \"{{.commons}} {{__line__}}\""
            .to_owned(),
        _ => String::new(),
    }
}

/// Puts a query of lines or numbers, all that there is.
fn asked(world: &World, rng: &mut SmallRng, query: &str) -> Question {
    let at_ns = world.any_time_ms(rng) * 1_000_000;
    let width_ns: i64 = if rng.random_bool(0.5) { 120_000_000_000 } else { 1_200_000_000_000 };
    let (start, end) = ((at_ns - width_ns).to_string(), (at_ns + width_ns).to_string());
    let direction = pick(rng, &["forward", "backward"]);
    let range = [
        ("query", query),
        ("start", &start),
        ("end", &end),
        ("step", "60"),
        ("limit", "5000"),
        ("direction", &direction),
    ];
    let mut request = Request::get(format!("/loki/api/v1/query_range?{}", form(&range)));
    if rng.random_bool(0.3) {
        request = request.header("X-Loki-Response-Encoding-Flags", "categorize-labels");
    }
    Question { request, text: query.to_owned(), rows: None }
}

/// Each row of it belongs to one commons.
pub(super) fn rows(world: &World, rng: &mut SmallRng) -> Question {
    let lines = format!("{}{}", selector(world, rng), stages(world, rng));
    let window = pick(rng, &["1m", "20m"]);
    let query = match rng.random_range(0..5) {
        0..2 => lines,
        2 => format!("sum by (commons) (count_over_time({lines} [{window}]))"),
        3 => format!("max by (commons, secret_resource) (bytes_over_time({lines} [{window}]))"),
        _ => format!("topk by (commons) (1, rate({lines} [{window}]))"),
    };
    Question { rows: Some(Rows::Streams), ..asked(world, rng, &query) }
}

/// What adds commons up or fails, and the menus.
pub(super) fn loose(world: &World, rng: &mut SmallRng) -> Question {
    let lines = format!("{}{}", selector(world, rng), stages(world, rng));
    let query = match rng.random_range(0..12) {
        0 => format!("sum(count_over_time({lines} [5m]))"),
        1 => format!("sum by (secret_resource) (count_over_time({lines} [5m]))"),
        2 => format!("topk(2, count_over_time({lines} [5m]))"),
        3 => format!("{lines} | json | unwrap n"),
        4 => format!("sum(sum_over_time({lines} | unwrap secret_resource [5m]))"),
        5 => format!("absent_over_time({lines} [5m])"),
        _ => return menu(world, rng),
    };
    asked(world, rng, &query)
}

fn menu(world: &World, rng: &mut SmallRng) -> Question {
    let s = selector(world, rng);
    let start = ((world.start_ms - 600_000) * 1_000_000).to_string();
    let end = ((world.start_ms + 1_200_000) * 1_000_000).to_string();
    let (path, name) = match rng.random_range(0..10) {
        0 => ("series", "match[]"),
        1 => ("labels", "query"),
        2 => ("label/commons/values", "query"),
        3 => ("label/service_name/values", "query"),
        4 => ("index/stats", "query"),
        5 => ("index/volume", "query"),
        6 => ("index/volume_range", "query"),
        7 => ("patterns", "query"),
        8 => ("detected_labels", "query"),
        _ => ("detected_fields", "query"),
    };
    let rows = match path {
        "series" => Some(Rows::Series),
        "label/commons/values" => Some(Rows::Names),
        _ => None,
    };
    let text = format!("{path} {s}");
    let parameters = [(name, s.as_str()), ("start", &start), ("end", &end)];
    let request = Request::get(format!("/loki/api/v1/{path}?{}", form(&parameters)));
    Question { request, text, rows }
}
