//! Guesses how bad a log line says it is, for the many formats of a commons.
//!
//! Only the head of the line is looked at: a level stands near the front, and the word "error"
//! further back is usually part of a message.

/// How many bytes of a line are looked at.
const HEAD_BYTES: usize = 160;
/// How many words of a line may come before its level.
const WORDS_MAX: usize = 6;

/// Returns `debug`, `info`, `warn`, `error` or `unknown`.
pub(super) fn of_line(body: &str) -> &'static str {
    let mut end = body.len().min(HEAD_BYTES);
    while !body.is_char_boundary(end) {
        end -= 1;
    }
    let head = body[..end].trim_start();
    let found = match head.as_bytes() {
        [b'{', ..] => after_key(head, "\"level\":").or_else(|| after_key(head, "\"severity\":")),
        [letter @ (b'I' | b'W' | b'E' | b'F'), a, b, c, d, b' ', ..]
            if [a, b, c, d].into_iter().all(u8::is_ascii_digit) =>
        {
            glog(*letter)
        }
        _ => after_key(head, "level=").or_else(|| among_words(head)),
    };
    found.unwrap_or("unknown")
}

fn glog(letter: u8) -> Option<&'static str> {
    Some(match letter {
        b'I' => "info",
        b'W' => "warn",
        _ => "error",
    })
}

fn after_key(head: &str, key: &str) -> Option<&'static str> {
    let rest = &head[head.find(key)? + key.len()..];
    let rest = rest.trim_start().trim_start_matches('"');
    let end = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
    level(&rest[..end])
}

/// `[2026-08-21 10:11:12,345][  fence][   INFO] …`, `2026/08/21 10:11:12 x.go:81: ERROR: …`,
/// `[10:11:12] WARN: …`, `ERROR when …`.
fn among_words(head: &str) -> Option<&'static str> {
    let is_gap = |c: char| c.is_ascii_whitespace() || c == '[' || c == ']';
    head.split(is_gap)
        .filter(|word| !word.is_empty())
        .take(WORDS_MAX)
        .filter(|word| word.bytes().all(|b| b.is_ascii_uppercase() || b == b':'))
        .find_map(|word| level(word.trim_end_matches(':')))
}

/// Returns the level that a word names, in any case of letters.
pub(super) fn level(word: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 14] = [
        ("info", "info"),
        ("error", "error"),
        ("warning", "warn"),
        ("warn", "warn"),
        ("debug", "debug"),
        ("notice", "info"),
        ("trace", "debug"),
        ("critical", "error"),
        ("crit", "error"),
        ("fatal", "error"),
        ("err", "error"),
        ("panic", "error"),
        ("alert", "error"),
        ("emerg", "error"),
    ];
    WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, want: &str) {
        assert_eq!(of_line(line), want, "{line}");
    }

    #[test]
    fn the_formats_of_a_commons_are_known() {
        check("[2026-08-21 10:11:12,345][     fence][   INFO] Signed URL Generated.", "info");
        check("[2026-08-21 10:11:12,345][user_syncer.arborist_client][  ERROR] no", "error");
        check("[2026-08-21 10:11:12,345][uvicorn.access][WARNING] x", "warn");
        check("2026/08/21 10:11:12 response.go:81: ERROR: database ping failed", "error");
        check("[10:11:12] INFO: [ES.query] DurationInMS:137.", "info");
        check("I0821 10:11:12.345678 1 handler.go:97] x", "info");
        check("E0821 10:11:12.345678 1 handler.go:97] x", "error");
        check("ERROR when connecting to spark. Please roll spark", "error");
        check(" ERROR[0007] Failed to create pods.", "error");
        check(r#"{"time":"x","level":"warn","msg":"y"}"#, "warn");
        check("ts=x level=debug msg=y", "debug");
    }

    #[test]
    fn what_is_no_level_stays_unknown() {
        check("", "unknown");
        check("2026/08/21 10:11:12 Launched pod for user", "unknown");
        check("an error in prose is not a level", "unknown");
        check(&format!("{}ERROR", "é".repeat(200)), "unknown");
    }
}
