//! What must hold of any webhook's URL: it is refused, or shows its host and nothing else; of any
//! configuration file: it is refused for a reason, or every alert finds a receiver; of any matchers.

use std::path::Path;

use super::Policy;
use super::matchers::{braces, parse_matchers};
use super::secret::SecretUrl;
use crate::model::Labels;

/// A URL.
pub fn webhook_url(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(url) = SecretUrl::parse(&text) else { return };
    let shown = format!("{url:?}");
    let host = url.host();
    assert!(shown.ends_with(&format!("://{host}/<secret>")), "{shown}");
    assert!(!host.is_empty() && !host.contains(['/', '?', '@']), "{host}");
    let sent = url.without_userinfo();
    assert_eq!(sent.host(), Some(host), "{text}");
    assert!(sent.authority().is_none_or(|place| !place.as_str().contains('@')), "{text}");
    let _ = url.userinfo();
}

/// An Alertmanager configuration file.
pub fn alerting_file(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Policy::parse(Path::new("nowhere/alertmanager.yml"), &text) {
        Ok(policy) => {
            let labels = Labels::from_pairs([("alertname", "A"), ("severity", "page")]);
            let routes = policy.routes_of(&labels);
            assert!(!routes.is_empty(), "the root takes every alert");
            for idx in routes {
                assert!(policy.receivers.contains_key(&policy.routes[idx].receiver));
                assert!(policy.routes[idx].timing.interval_ms > 0);
                drop(policy.route_key(idx));
                drop(policy.muted_by(&policy.routes[idx], 1_795_219_200_000));
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.is_empty(), "a file is refused for a reason");
            mistakes.iter().for_each(|mistake| drop(mistake.to_string()));
        }
    }
}

/// A text of matchers; what is read is the same when it is written and read again.
pub fn am_matchers(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(matchers) = parse_matchers(&text) else { return };
    let written = braces(&matchers);
    let again = parse_matchers(&written).expect("what we write can be read");
    assert_eq!(matchers, again, "{written}");
}
