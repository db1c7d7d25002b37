//! What must hold of any webhook's URL: it is refused, or shows its host and nothing else; of any
//! configuration file: it is refused for a reason, or every alert finds a receiver; of any matchers; of
//! any text of a notification, any mail that is made of labels, and anything that a relay may say.

use std::path::Path;
use std::sync::Arc;

use super::dispatch::{Dispatcher, Limits};
use super::mail;
use super::matchers::{braces, parse_matchers};
use super::outbox::Entry;
use super::secret::SecretUrl;
use super::{Config, Policy};
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

/// A template of a notification; before the first zero byte stands a file that defines others.
pub fn notify_text(bytes: &[u8]) {
    let (file, text) = match bytes.iter().position(|byte| *byte == 0) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (&bytes[..0], bytes),
    };
    super::said::fuzzing::say(&String::from_utf8_lossy(file), &String::from_utf8_lossy(text));
}

/// What a relay says, and beside it the texts of a mail: no header and no command is made of either.
pub fn mail_dialog(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let texts = mail::Texts {
        from: "watch@csoc.example".to_owned(),
        to: "a@heart.example".to_owned(),
        headers: vec![("Subject".to_owned(), text.clone())],
        html: text.clone(),
        text: text.clone(),
    };
    let letter = mail::compose(&texts, ("id", "thread"), 0).expect("the addresses are right");
    mail::fuzzing::check(&letter, &text);
    if let Ok(found) = mail::addresses(&text) {
        assert!(!found.is_empty());
        let to = mail::Texts { to: text, ..texts };
        drop(mail::compose(&to, ("id", "thread"), 0));
    }
    let relay = Arc::<[u8]>::from(bytes);
    futures::executor::block_on(mail::fuzzing::converse(&relay, &letter));
}

/// What was stored of alerts, silences, groups and notifications: a key and a value a line. What cannot
/// be read is left out, and what is stored of the rest can be read.
pub fn notify_state(bytes: &[u8]) {
    const NOW_MS: i64 = 1_800_000_000_000;
    let text = String::from_utf8_lossy(bytes);
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    let stored: Vec<(String, Vec<u8>)> =
        pairs.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).collect();
    stored.iter().for_each(|(_, value)| drop(serde_json::from_slice::<Entry>(value)));
    let config = Config::default();
    let policy = Arc::new(Policy::from(&config));
    let mut dispatcher = Dispatcher::restored(policy, Limits::from(&config), &stored, NOW_MS);
    for (key, value) in dispatcher.take_changes() {
        let Some(value) = value else { continue };
        assert!(serde_json::from_slice::<serde_json::Value>(&value).is_ok(), "{key}");
    }
}
