//! What must hold of any webhook's URL: it is refused, or shows its host and nothing else; of any
//! configuration file: it is refused for a reason, or every alert finds a receiver; of any matchers; of
//! any text of a notification, any mail that is made of labels, and anything that a relay may say.

use std::path::Path;
use std::sync::Arc;

use super::Policy;
use super::mail;
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
