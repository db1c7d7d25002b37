//! What must hold of any webhook's URL: it is refused, or shows its host and nothing else.

use super::secret::SecretUrl;

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
