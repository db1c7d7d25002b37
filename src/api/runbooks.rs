//! The runbook section of an alert that we ship, at `/runbooks/<alert>`.
//!
//! Alerts link here (`runbook_url`), so whoever is woken needs the link and nothing else: the text is
//! part of the program, and shown without a credential, as it is to anybody who has the source.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;

use super::error::{ApiError, answer};
use super::received::InPath;
use super::route::{Need, Routes};
use crate::base::Kind;

const FILES: [&str; 9] = [
    include_str!("../../docs/runbooks/access.md"),
    include_str!("../../docs/runbooks/availability.md"),
    include_str!("../../docs/runbooks/explorer.md"),
    include_str!("../../docs/runbooks/jobs.md"),
    include_str!("../../docs/runbooks/kubernetes.md"),
    include_str!("../../docs/runbooks/requests.md"),
    include_str!("../../docs/runbooks/telemetry.md"),
    include_str!("../../docs/runbooks/weekly.md"),
    include_str!("../../docs/runbooks/workspaces.md"),
];
const HEADING: &str = "\n## ";

pub(super) fn add(routes: &mut Routes) {
    routes.get("/runbooks/{alert}", Need::Nothing, show);
}

async fn show(InPath(alert): InPath<String>) -> Result<Response, ApiError> {
    let found = sections().find(|section| title(section) == alert).ok_or_else(|| {
        let alerts: Vec<&str> = sections().map(title).collect();
        let message = format!("no runbook has this alert; there are {}", alerts.join(", "));
        ApiError::new(Kind::NotFound, message)
    })?;
    let text = format!("# {found}\n");
    Ok(answer(StatusCode::OK, "text/plain; charset=utf-8", Body::from(text)))
}

/// Returns every section, beginning with its title.
fn sections() -> impl Iterator<Item = &'static str> {
    FILES.into_iter().flat_map(|file| file.split(HEADING).skip(1)).map(str::trim_end)
}

fn title(section: &str) -> &str {
    section.lines().next().unwrap_or("")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::query::{logql, promql};

    fn alerts() -> BTreeSet<String> {
        let paths = glob::glob("alerts/*.yml").unwrap().map(Result::unwrap);
        let texts: Vec<String> = paths.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        let names = lines.filter_map(|line| line.trim().strip_prefix("- alert: "));
        names.map(str::to_owned).collect()
    }

    #[test]
    fn every_alert_has_its_section_and_every_section_its_alert() {
        let titles: Vec<String> = sections().map(|section| title(section).to_owned()).collect();

        let each_once: BTreeSet<String> = titles.iter().cloned().collect();
        assert_eq!(each_once.len(), titles.len(), "a section is there twice");
        assert_eq!(each_once, alerts());
        assert!(titles.len() >= 36, "{}", titles.len());
    }

    #[test]
    fn every_file_of_the_folder_is_shown() {
        let in_folder = glob::glob("docs/runbooks/*.md").unwrap().map(Result::unwrap);
        let in_folder = in_folder.filter(|path| !path.ends_with("README.md")).count();

        assert_eq!(in_folder, FILES.len());
    }

    #[test]
    fn every_section_says_what_whoever_is_woken_needs() {
        for section in sections() {
            for part in ["**Users**", "**Look**", "**Causes.**", "**Do.**", "**False alarm.**"] {
                assert!(section.contains(part), "{}: no {part}", title(section));
            }
            assert!(queries(section).len() >= 3, "{}: three looks", title(section));
        }
    }

    /// Returns the language and the text of each query.
    fn queries(section: &str) -> Vec<(&str, &str)> {
        let blocks = section.split("```").skip(1).step_by(2);
        blocks.filter_map(|block| block.split_once('\n')).collect()
    }

    #[test]
    fn every_query_can_be_asked() {
        for section in sections() {
            for (language, query) in queries(section) {
                let parsed = match language {
                    "promql" => promql::parse(query, &promql::ParseLimits::default())
                        .map(drop)
                        .map_err(|error| error.to_string()),
                    "logql" => logql::parse(query.trim(), &logql::ParseLimits::default())
                        .map(drop)
                        .map_err(|error| error.to_string()),
                    other => Err(format!("{other} is no language of ours")),
                };
                assert_eq!(parsed, Ok(()), "{}: {query}", title(section));
            }
        }
    }
}
