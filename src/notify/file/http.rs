//! `http_config`: who we say we are at a receiver's door.

use base64::Engine as _;
use http::{HeaderName, HeaderValue};

use super::fields::Fields;
use super::node::{Node, Value};
use super::tls;
use crate::notify::http::HttpOptions;
use crate::notify::secret::SecretText;

/// Reads `http_config`; what is not there leaves `default` as it is.
pub(super) fn options(parent: &Fields<'_, '_>, default: &HttpOptions) -> HttpOptions {
    match parent.get("http_config") {
        Some(node) => read(parent, node),
        None => default.clone(),
    }
}

pub(super) fn read(parent: &Fields<'_, '_>, node: &Node) -> HttpOptions {
    let fields = Fields::of(parent.reading, format!("{}: `http_config`", parent.what), node);
    let given: Vec<String> =
        [basic(&fields), authorization(&fields), bearer(&fields)].into_iter().flatten().collect();
    if given.len() > 1 {
        fields.wrong("basic_auth", "more than one of basic_auth, authorization and bearer_token");
    }
    fields.bool("enable_http2", true);
    if fields.bool("follow_redirects", false) {
        let why = "redirects are never followed, since they could lead to where no webhook may go: \
                   write `false` or leave it out";
        fields.wrong("follow_redirects", why);
    }
    if !fields.bool("proxy_from_environment", false) {
        fields.refuse("proxy_url", "we connect to the receiver itself");
        fields.refuse("no_proxy", "we connect to the receiver itself");
        fields.refuse("proxy_connect_header", "we connect to the receiver itself");
    } else {
        fields
            .wrong("proxy_from_environment", "is not supported: we connect to the receiver itself");
    }
    fields.refuse("oauth2", "use `authorization` with a token, or a receiver that takes one");
    let tls = tls::read(&fields, "tls_config");
    let headers = headers(&fields);
    fields.finish();
    HttpOptions { authorization: given.into_iter().next().map(SecretText::new), headers, tls }
}

fn basic(parent: &Fields<'_, '_>) -> Option<String> {
    let node = parent.get("basic_auth")?;
    let fields = Fields::of(parent.reading, "`basic_auth`", node);
    let name = fields.text_or_file("username", "username_file").unwrap_or_default();
    let password = fields.text_or_file("password", "password_file").unwrap_or_default();
    fields.finish();
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    Some(format!("Basic {encoded}"))
}

fn authorization(parent: &Fields<'_, '_>) -> Option<String> {
    let node = parent.get("authorization")?;
    let fields = Fields::of(parent.reading, "`authorization`", node);
    let scheme = fields.text("type").unwrap_or("Bearer");
    let credentials = fields.text_or_file("credentials", "credentials_file");
    if credentials.is_none() {
        fields.wrong("credentials", "is missing");
    }
    fields.finish();
    valid(parent, "authorization", format!("{scheme} {}", credentials?))
}

fn bearer(fields: &Fields<'_, '_>) -> Option<String> {
    let token = fields.text_or_file("bearer_token", "bearer_token_file")?;
    valid(fields, "bearer_token", format!("Bearer {token}"))
}

fn valid(fields: &Fields<'_, '_>, key: &str, value: String) -> Option<String> {
    if HeaderValue::from_str(&value).is_err() {
        fields.wrong(key, "has characters that no header has");
        return None;
    }
    Some(value)
}

/// `http_headers: {Name: {values: […], secrets: […], files: […]}}`
fn headers(parent: &Fields<'_, '_>) -> Vec<(String, SecretText)> {
    let Some(node) = parent.get("http_headers") else { return Vec::new() };
    let Value::Map(pairs) = &node.value else {
        parent.wrong("http_headers", format!("must be a mapping, and is {}", node.kind()));
        return Vec::new();
    };
    let mut headers = Vec::new();
    for (name, node) in pairs {
        let fields = Fields::of(parent.reading, format!("header `{name}`"), node);
        let is_own = ["authorization", "host", "content-type", "content-length", "user-agent"];
        let lower = name.to_ascii_lowercase();
        if HeaderName::from_bytes(name.as_bytes()).is_err() || is_own.contains(&lower.as_str()) {
            parent.wrong("http_headers", format!("`{name}` cannot be set here"));
        }
        let texts = fields.texts("values").into_iter().chain(fields.texts("secrets"));
        let mut values: Vec<String> = texts.map(str::to_owned).collect();
        for path in fields.texts("files") {
            values.extend(fields.reading.file("files", fields.line, path));
        }
        let values = values.into_iter().filter_map(|value| valid(&fields, "values", value));
        headers.extend(values.map(|value| (name.clone(), SecretText::new(value))));
        fields.finish();
    }
    headers
}
