//! The silences that a server knows, for those who live a time once more.

use chrono::DateTime;
use serde_json::Value;

use super::CliError;
use super::client::Client;
use super::lint::get;
use crate::notify::{Silence, SilenceDef};

/// Returns every silence that a server knows, those that are over as well: it forgets them some days after
/// their end (`alerting.silence_retention`).
pub(super) fn of(client: &Client) -> Result<Vec<Silence>, CliError> {
    let all = get(client, "/am/api/v2/silences", &[])?;
    Ok(all.as_array().into_iter().flatten().filter_map(read).collect())
}

fn read(shown: &Value) -> Option<Silence> {
    let text = |key: &str| shown[key].as_str().map(str::to_owned);
    let ms = |key: &str| {
        let time = DateTime::parse_from_rfc3339(shown[key].as_str()?).ok()?;
        Some(time.timestamp_millis())
    };
    let def = SilenceDef {
        matchers: serde_json::from_value(shown["matchers"].clone()).ok()?,
        starts_at_ms: ms("startsAt")?,
        ends_at_ms: ms("endsAt")?,
        created_by: text("createdBy")?,
        comment: text("comment")?,
    };
    Some(Silence { id: text("id")?, updated_ms: def.starts_at_ms, def })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_silence_is_read_as_it_is_shown() {
        let shown = json!({
            "id": "i", "status": { "state": "expired" }, "updatedAt": "2026-11-21T11:00:00.000Z",
            "matchers": [{ "name": "a", "value": "b.*", "isRegex": true, "isEqual": false }],
            "startsAt": "2026-11-21T10:00:00.000Z", "endsAt": "2026-11-21T11:00:00.000Z",
            "createdBy": "ann", "comment": "c" });

        let silence = read(&shown).unwrap();

        let matcher = &silence.def.matchers[0];
        assert_eq!((matcher.is_regex, matcher.is_equal), (true, false));
        assert_eq!(silence.def.ends_at_ms - silence.def.starts_at_ms, 3_600_000);
        assert_eq!(read(&json!({ "id": "i" })), None);
    }
}
