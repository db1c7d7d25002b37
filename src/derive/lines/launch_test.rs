//! The result that the job `workspace-launch-test` prints: one JSON object, whatever the result.

use super::{Format, Line, level};
use crate::model::json_read::{Json, get};

/// How a launch on trial went.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct LaunchTest<'a> {
    pub(in super::super) image: &'a str,
    /// `Running` is good.
    pub(in super::super) result: &'a str,
    pub(in super::super) duration_s: Option<f64>,
    /// Whether the workspace's proxy answered 200.
    pub(in super::super) is_reachable: bool,
}

/// Reads `{"final_result": {…}}`. Other JSON is a plain line with a level.
pub(super) fn read(body: &str) -> Option<Line<'_>> {
    let head = body.trim_start_matches(['{', ' ', '\n']);
    if !head.starts_with("\"final_result\"") {
        return None;
    }
    let line = Line { level: level::of_line(body), ..Line::new(Format::LaunchTest, body) };
    let Some(object) = get(body, "final_result") else { return Some(line.broken()) };
    let text = |name: &str| get(object, name).map(|raw| raw.trim().trim_matches('"'));
    let number = |name: &str| match get(object, name).map(Json::of) {
        Some(Json::Number(raw)) => raw.parse::<f64>().ok(),
        Some(Json::Text(text)) => text.parse().ok(),
        _ => None,
    };
    let Some(result) = text("result") else { return Some(line.broken()) };
    let test = LaunchTest {
        image: text("image").unwrap_or(""),
        result,
        duration_s: number("duration").filter(|value| value.is_finite() && *value >= 0.0),
        is_reachable: number("proxy_status") == Some(200.0),
    };
    let is_good = test.result == "Running" && test.is_reachable;
    let level = if is_good { "info" } else { "error" };
    Some(Line { level, launch_test: Some(test), ..line })
}
