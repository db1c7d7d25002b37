//! `email_configs`, and what `global` says of mail.

use super::fields::Fields;
use super::kinds::{pairs, parsed_text, said};
use super::node::Node;
use super::receivers::Global;
use super::tls;
use crate::notify::http::HttpOptions;
use crate::notify::mail::{Email, Login, Relay, addresses};
use crate::notify::policy::Integration;
use crate::notify::secret::{SecretText, SecretUrl};
use crate::notify::target::{Speech, Target};
use crate::notify::tls::{Said, Tls};

/// What `global` says of mail.
#[derive(Debug, Clone, Default)]
pub(super) struct Smtp {
    from: Option<String>,
    smarthost: Option<String>,
    hello: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identity: Option<String>,
    needs_tls: Option<bool>,
    is_implicit: Option<bool>,
    tls: Option<Tls>,
}

pub(super) fn smtp(global: &Fields<'_, '_>) -> Smtp {
    let text = |key| global.text(key).map(str::to_owned);
    let flag = |key| global.get(key).map(|_| global.bool(key, true));
    Smtp {
        from: text("smtp_from"),
        smarthost: text("smtp_smarthost"),
        hello: text("smtp_hello"),
        username: text("smtp_auth_username"),
        password: global.text_or_file("smtp_auth_password", "smtp_auth_password_file"),
        identity: text("smtp_auth_identity"),
        needs_tls: flag("smtp_require_tls"),
        is_implicit: flag("smtp_force_implicit_tls"),
        tls: tls::read(global, "smtp_tls_config"),
    }
}

pub(super) fn email(
    receiver: &Fields<'_, '_>,
    idx: usize,
    node: &Node,
    global: &Global,
) -> Option<Integration> {
    let fields = Fields::of(receiver.reading, format!("{}: email", receiver.what), node);
    let relay = relay(&fields, &global.smtp);
    let from = match (fields.text("from"), &global.smtp.from) {
        (Some(_), _) => said(&fields, global, "from"),
        (None, Some(from)) => parsed_text(&fields, global, "from", from),
        (None, None) => {
            fields.wrong("from", "is missing, and `global` has no smtp_from");
            None
        }
    };
    let to = said(&fields, global, "to");
    match fields.text("to") {
        None => fields.wrong("to", "is missing"),
        Some(text) if !text.contains("{{") => {
            if let Err(reason) = addresses(text) {
                fields.wrong("to", reason);
            }
        }
        Some(_) => {}
    }
    let headers = pairs(&fields, global, "headers");
    for (name, _) in &headers {
        check_header(&fields, name);
    }
    let (html, text) = (said(&fields, global, "html"), said(&fields, global, "text"));
    let send_resolved = fields.bool("send_resolved", false);
    fields.refuse("threading", "the mails of a group refer to each other in any case");
    fields.finish();
    let relay = relay?;
    let url = SecretUrl::parse(&format!("http://{}:{}/", relay.host, relay.port)).ok()?;
    let headers = headers.into_iter().map(|(name, text)| (name, Some(text))).collect();
    let email = Email { relay, from, to, headers, html, text };
    let speech = Speech::Email(Box::new(email));
    let target = Target { url, http: HttpOptions::default(), speech };
    // A relay may think for a while about whom it serves: 30 s, where a webhook has 10.
    let timeout = Some(std::time::Duration::from_secs(30));
    Some(Integration { target, idx, send_resolved, timeout })
}

/// Headers that are made here.
const OWN: [&str; 7] = [
    "content-type",
    "content-transfer-encoding",
    "mime-version",
    "date",
    "message-id",
    "references",
    "bcc",
];

fn check_header(fields: &Fields<'_, '_>, name: &str) {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if name.is_empty() || !name.bytes().all(is_plain) {
        fields.wrong("headers", format!("`{}` is no header's name", name.escape_debug()));
    }
    if OWN.contains(&name.to_ascii_lowercase().as_str()) {
        fields.wrong("headers", format!("`{name}` cannot be set here"));
    }
}

fn relay(fields: &Fields<'_, '_>, global: &Smtp) -> Option<Relay> {
    let smarthost = fields.text("smarthost").or(global.smarthost.as_deref());
    let parted = smarthost.and_then(|text| text.rsplit_once(':'));
    let port = parted.and_then(|(_, port)| port.parse::<u16>().ok());
    let host =
        parted.map(|(host, _)| host.trim_matches(['[', ']'])).filter(|host| !host.is_empty());
    match (smarthost, port) {
        (None, _) => fields.wrong("smarthost", "is missing, and `global` has no smtp_smarthost"),
        (Some(text), None) => fields.wrong("smarthost", format!("`{text}` is not host:port")),
        _ => {}
    }
    let hello = fields.text("hello").or(global.hello.as_deref()).unwrap_or("localhost");
    if hello.is_empty() || !hello.bytes().all(|b| b.is_ascii_graphic()) {
        fields.wrong("hello", "is not a host's name");
    }
    for key in ["auth_secret", "auth_secret_file"] {
        fields.refuse(key, "CRAM-MD5 is not spoken: use auth_password, which goes over TLS");
    }
    let login = login(fields, global);
    let needs_tls = fields.bool("require_tls", global.needs_tls.unwrap_or(true));
    let is_implicit =
        fields.bool("force_implicit_tls", global.is_implicit.unwrap_or(port == Some(465)));
    let tls = tls::read(fields, "tls_config").or(global.tls.clone());
    let tls = tls.or_else(|| Tls::new(Said::default()).ok())?;
    Some(Relay {
        host: host?.to_owned(),
        port: port?,
        hello: hello.to_owned(),
        login,
        needs_tls,
        is_implicit,
        tls,
    })
}

fn login(fields: &Fields<'_, '_>, global: &Smtp) -> Option<Login> {
    let user = fields.text("auth_username").map(str::to_owned).or(global.username.clone());
    let password = fields.text_or_file("auth_password", "auth_password_file");
    let password = password.or(global.password.clone());
    let identity = fields.text("auth_identity").map(str::to_owned).or(global.identity.clone());
    match (user, password) {
        (Some(user), Some(password)) => {
            let password = SecretText::new(password);
            Some(Login { identity: identity.unwrap_or_default(), user, password })
        }
        (None, None) => None,
        (Some(_), None) => {
            fields.wrong("auth_username", "is given without auth_password");
            None
        }
        (None, Some(_)) => {
            fields.wrong("auth_password", "is given without auth_username");
            None
        }
    }
}
