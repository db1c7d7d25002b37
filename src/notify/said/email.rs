//! E-mail: subject, a page of HTML and the same as plain text.

use super::words::{Words, values};
use super::{Message, or, prose};
use crate::model::AlertEvent;
use crate::notify::mail::{Email, Texts, compose};
use crate::notify::sign::sha256_hex;
use crate::template::escape_html;

/// What annotations and labels people look for first, in this order.
const FIRST: [&str; 4] = ["summary", "description", "runbook", "explain_url"];

impl Email {
    /// Writes the message; the error says which address cannot be one.
    pub(in crate::notify) fn message(
        &self,
        words: &Words<'_>,
        id: &str,
    ) -> Result<Message, String> {
        let mut headers: Vec<(String, String)> = self
            .headers
            .iter()
            .map(|(name, said)| (name.clone(), prose(said, words, String::new)))
            .collect();
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("subject")) {
            headers.push(("Subject".to_owned(), words.subject()));
        }
        let html = match self.html.as_ref().map(|text| text.say(words, true)) {
            None => words.html(),
            Some(Ok(html)) => html,
            Some(Err(reason)) => {
                format!("{}<p>Its template failed: {}</p>", words.html(), escape_html(&reason))
            }
        };
        let texts = Texts {
            from: or(&self.from, words, String::new),
            to: or(&self.to, words, String::new),
            headers,
            html,
            text: prose(&self.text, words, || words.text()),
        };
        let thread = sha256_hex(&words.news.group_key);
        let letter = compose(&texts, (id, &thread[..32]), words.now_ms())?;
        let body = serde_json::to_string(&letter).expect("texts are always JSON");
        Ok(Message::here(body))
    }
}

impl Words<'_> {
    /// `email.default.text`
    pub(super) fn text(&self) -> String {
        let mut text = format!("{}\n{}\n", self.subject(), self.url());
        for (title, resolved) in [("Firing", false), ("Resolved", true)] {
            let alerts = self.alerts(resolved);
            if !alerts.is_empty() {
                text.push_str(&format!("\n{title} ({})\n\n", alerts.len()));
            }
            for alert in alerts {
                for (name, value) in lines(alert) {
                    text.push_str(&format!("{name}: {value}\n"));
                }
                text.push('\n');
            }
        }
        text
    }

    /// `email.default.html`
    pub(super) fn html(&self) -> String {
        let color = if self.is_firing() { "#c62828" } else { "#2e7d32" };
        let group: Vec<(&str, &str)> = self.news.group_labels.iter().collect();
        let group = values(&group.into_iter().collect());
        let mut html = format!(
            "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>{0}</title></head><body \
             style=\"font-family:sans-serif\"><h2 style=\"color:{color}\">{0}</h2><p>{1} · \
             <a href=\"{2}\">all alerts</a></p>",
            escape_html(&self.subject()),
            escape_html(&group),
            escape_html(&self.url()),
        );
        for (title, resolved) in [("Firing", false), ("Resolved", true)] {
            let alerts = self.alerts(resolved);
            if !alerts.is_empty() {
                html.push_str(&format!("<h3>{title} ({})</h3>", alerts.len()));
            }
            for alert in alerts {
                html.push_str("<table style=\"margin-bottom:1em;border-left:3px solid #999\">");
                for (name, value) in lines(alert) {
                    let value = match value.starts_with("http") {
                        true => format!("<a href=\"{0}\">{0}</a>", escape_html(&value)),
                        false => escape_html(&value),
                    };
                    let name = escape_html(&name);
                    html.push_str(&format!("<tr><td><b>{name}</b></td><td>{value}</td></tr>"));
                }
                html.push_str("</table>");
            }
        }
        html.push_str("</body></html>");
        html
    }
}

/// Returns what an alert says, what matters first.
fn lines(alert: &AlertEvent) -> Vec<(String, String)> {
    let mut lines =
        vec![("alert".to_owned(), alert.labels.get("alertname").unwrap_or("-").to_owned())];
    let annotation = |name: &str| alert.annotations.get(name).filter(|text| !text.is_empty());
    let first =
        FIRST.iter().filter_map(|name| Some(((*name).to_owned(), annotation(name)?.clone())));
    lines.extend(first);
    let rest = alert.annotations.iter().filter(|(name, _)| !FIRST.contains(&name.as_str()));
    lines.extend(rest.map(|(name, text)| (name.clone(), text.clone())));
    let labels = alert.labels.iter().filter(|(name, _)| *name != "alertname");
    lines.extend(labels.map(|(name, value)| (name.to_owned(), value.to_owned())));
    if !alert.generator_url.is_empty() {
        lines.push(("source".to_owned(), alert.generator_url.clone()));
    }
    lines
}
