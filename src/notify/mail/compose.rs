//! A notification to a message: headers and the two forms of its text (RFC 5322, RFC 2045 to 2047).
//!
//! Bodies are base64, so that no line of theirs is too long, ends the message or is a header; a header
//! with anything but plain ASCII is written as encoded words. What a label says can thus add neither a
//! header nor a reader.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use serde::{Deserialize, Serialize};

use super::address::{Mailbox, addresses};

/// A message on its way: who it is from and for, and its text. It is kept in the outbox as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::notify) struct Letter {
    /// The address in the envelope.
    pub(super) from: String,
    pub(super) to: Vec<String>,
    /// Headers and body, lines ended by CR LF.
    pub(super) data: String,
}

/// The texts of a message, expanded.
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::notify) struct Texts {
    pub(in crate::notify) from: String,
    pub(in crate::notify) to: String,
    pub(in crate::notify) headers: Vec<(String, String)>,
    pub(in crate::notify) html: String,
    pub(in crate::notify) text: String,
}

/// The longest piece of an encoded word, in bytes: with its frame it stays below 75 characters.
const WORD_BYTES_MAX: usize = 39;
/// What parts the two forms of the text; base64 has no `=_`.
const BOUNDARY: &str = "=_commonwatch_parts";

/// Returns the message that some texts make; `id` names it, `thread` all of its group.
pub(in crate::notify) fn compose(
    texts: &Texts,
    (id, thread): (&str, &str),
    now_ms: i64,
) -> Result<Letter, String> {
    let from = addresses(&texts.from).map_err(|reason| format!("`from`: {reason}"))?;
    let [from] = from.as_slice() else { return Err("`from`: more than one address".to_owned()) };
    let to = addresses(&texts.to).map_err(|reason| format!("`to`: {reason}"))?;
    let domain = from.address.rsplit_once('@').map_or("localhost", |(_, domain)| domain);
    let has = |name: &str| texts.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
    let mut data = String::new();
    let mut header = |name: &str, value: &str| data.push_str(&format!("{name}: {value}\r\n"));
    if !has("From") {
        header("From", &written(from));
    }
    if !has("To") {
        header("To", &to.iter().map(written).collect::<Vec<_>>().join(", "));
    }
    for (name, value) in &texts.headers {
        header(name, &unstructured(value));
    }
    let time = DateTime::from_timestamp_millis(now_ms).unwrap_or_default();
    header("Date", &time.format("%a, %d %b %Y %H:%M:%S +0000").to_string());
    header("Message-ID", &format!("<{id}@{domain}>"));
    // What belongs to one group is one conversation to those who read it.
    header("References", &format!("<{thread}@{domain}>"));
    header("Auto-Submitted", "auto-generated");
    header("MIME-Version", "1.0");
    body(&mut data, &texts.text, &texts.html);
    let (from, to) = (from.address.clone(), to.into_iter().map(|one| one.address).collect());
    Ok(Letter { from, to, data })
}

fn body(data: &mut String, text: &str, html: &str) {
    let parts = [("plain", text), ("html", html)];
    let mut parts = parts.into_iter().filter(|(_, text)| !text.is_empty());
    match (parts.next(), parts.next()) {
        (Some(first), Some(second)) => {
            let kind = format!("multipart/alternative; boundary=\"{BOUNDARY}\"");
            data.push_str(&format!("Content-Type: {kind}\r\n\r\n"));
            for one in [first, second] {
                data.push_str(&format!("--{BOUNDARY}\r\n"));
                part(data, one);
            }
            data.push_str(&format!("--{BOUNDARY}--\r\n"));
        }
        (one, _) => part(data, one.unwrap_or(("plain", ""))),
    }
}

fn part(data: &mut String, (kind, text): (&str, &str)) {
    data.push_str(&format!(
        "Content-Type: text/{kind}; charset=UTF-8\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    ));
    // A text's lines end with CR LF whatever its template had.
    let text = text.replace("\r\n", "\n").replace('\n', "\r\n");
    let encoded = STANDARD.encode(text);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, behind) = rest.split_at(rest.len().min(76));
        data.push_str(line);
        data.push_str("\r\n");
        rest = behind;
    }
}

/// Writes an address with its name.
fn written(mailbox: &Mailbox) -> String {
    let Mailbox { name, address } = mailbox;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || " !#$%&'*+-/=?^_`{|}~".contains(c);
    match name.as_str() {
        "" => address.clone(),
        name if name.chars().all(is_plain) && name.len() < 60 => format!("{name} <{address}>"),
        name => format!("{} <{address}>", encoded(name)),
    }
}

/// Writes a header's text: as it is, or as encoded words.
fn unstructured(text: &str) -> String {
    let is_plain = text.len() <= 60 && text.chars().all(|c| c == ' ' || c.is_ascii_graphic());
    // `=?` begins an encoded word, which somebody else's text is not to be.
    if is_plain && !text.contains("=?") { text.to_owned() } else { encoded(text) }
}

fn encoded(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let (mut words, mut rest) = (Vec::new(), text.as_str());
    while !rest.is_empty() {
        let mut end = rest.len().min(WORD_BYTES_MAX);
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (word, behind) = rest.split_at(end);
        words.push(format!("=?UTF-8?B?{}?=", STANDARD.encode(word)));
        rest = behind;
    }
    words.join("\r\n ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Texts {
        Texts {
            from: "commonwatch <watch@csoc.example>".to_owned(),
            to: "On Call <a@heart.example>, b@heart.example".to_owned(),
            headers: vec![("Subject".to_owned(), "[FIRING:1] Down heart".to_owned())],
            html: "<b>down</b>".to_owned(),
            text: "down\nfor good".to_owned(),
        }
    }

    fn letter(texts: &Texts) -> Letter {
        compose(texts, ("id1", "group1"), 1_763_730_000_000).unwrap()
    }

    #[test]
    fn a_message_says_who_when_and_what_in_both_forms() {
        let Letter { from, to, data } = letter(&texts());

        assert_eq!(from, "watch@csoc.example");
        assert_eq!(to, ["a@heart.example", "b@heart.example"]);
        for line in [
            "From: commonwatch <watch@csoc.example>\r\n",
            "To: On Call <a@heart.example>, b@heart.example\r\n",
            "Subject: [FIRING:1] Down heart\r\n",
            "Date: Fri, 21 Nov 2025 13:00:00 +0000\r\n",
            "Message-ID: <id1@csoc.example>\r\n",
            "References: <group1@csoc.example>\r\n",
            &STANDARD.encode("down\r\nfor good"),
            &STANDARD.encode("<b>down</b>"),
        ] {
            assert!(data.contains(line), "{line}: {data}");
        }
        assert!(data.is_ascii() && data.lines().all(|line| line.len() <= 78), "{data}");
    }

    #[test]
    fn a_label_adds_neither_a_header_nor_a_reader() {
        let mut hostile = texts();
        hostile.headers[0].1 = "x\r\nBcc: all@heart.example\r\n\r\nhello =?UTF-8?Q?y?=".to_owned();
        hostile.text = ".\r\nQUIT\r\n".to_owned();

        let data = letter(&hostile).data;

        assert!(!data.contains("Bcc:") && !data.contains("\r\n.\r\n"), "{data}");
        hostile.to = "a@heart.example\r\nBcc: b@heart.example".to_owned();
        assert!(compose(&hostile, ("i", "g"), 0).unwrap_err().starts_with("`to`: "));
    }

    #[test]
    fn what_is_not_ascii_is_written_as_encoded_words_that_are_whole_characters() {
        let mut foreign = texts();
        foreign.headers[0].1 = "größer ".repeat(20);

        let data = letter(&foreign).data;

        let subject = data.split("Subject: ").nth(1).unwrap().split("\r\nDate").next().unwrap();
        let words = subject.split("\r\n ").map(|word| {
            let inside = word.strip_prefix("=?UTF-8?B?").unwrap().strip_suffix("?=").unwrap();
            assert!(word.len() <= 75, "{word}");
            String::from_utf8(STANDARD.decode(inside).unwrap()).unwrap()
        });
        assert_eq!(words.collect::<String>(), foreign.headers[0].1);
    }
}
