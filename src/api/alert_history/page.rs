//! An explanation as a page, for those who follow a notification's link with a browser: no script, no
//! style from elsewhere, every text escaped.

use axum::body::Body;
use axum::response::Response;
use http::header::ACCEPT;
use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::super::error::answer;
use crate::template::escape_html;

/// Returns whether a browser asks.
pub(super) fn is_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|kind| kind.trim().starts_with("text/html"))
}

/// Returns the page.
pub(super) fn answered(shown: &Value) -> Response {
    answer(StatusCode::OK, "text/html; charset=utf-8", Body::from(page(shown)))
}

fn page(shown: &Value) -> String {
    let name = shown["labels"]["alertname"].as_str().or(shown["rule"]["name"].as_str());
    let name = escape_html(name.unwrap_or("alert"));
    let mut out = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{name}</title>\
         <style>body{{font-family:sans-serif;max-width:70em;margin:2em auto}}td,th{{text-align:left;\
         vertical-align:top;padding:.2em .8em .2em 0}}pre{{white-space:pre-wrap}}</style></head><body>\
         <h1>{name}</h1>"
    );
    push(&mut out, shown);
    out.push_str("</body></html>");
    out
}

/// Writes an object as a table, a list as a list, and the rest as text.
fn push(out: &mut String, value: &Value) {
    match value {
        Value::Null => out.push('–'),
        Value::String(text) => out.push_str(&escape_html(text)),
        Value::Object(fields) => {
            out.push_str("<table>");
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                out.push_str(&format!("<tr><th>{}</th><td>", escape_html(name)));
                push(out, value);
                out.push_str("</td></tr>");
            }
            out.push_str("</table>");
        }
        // A pair of time and value reads best on one line.
        Value::Array(pair) if pair.len() == 2 && pair.iter().all(Value::is_string) => {
            let texts: Vec<String> =
                pair.iter().filter_map(Value::as_str).map(escape_html).collect();
            out.push_str(&texts.join(" &nbsp; "));
        }
        Value::Array(list) => {
            out.push_str("<ul>");
            for one in list {
                out.push_str("<li>");
                push(out, one);
                out.push_str("</li>");
            }
            out.push_str("</ul>");
        }
        other => out.push_str(&escape_html(&other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_text_on_the_page() {
        let shown = serde_json::json!({
            "labels": { "alertname": "<script>", "commons": "heart" },
            "records": [{ "event": "joined" }],
            "values": [["2026-11-21T00:00:00Z", "1"]],
        });

        let page = page(&shown);

        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"), "{page}");
        assert!(page.contains("2026-11-21T00:00:00Z &nbsp; 1"), "{page}");
    }
}
