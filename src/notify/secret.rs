//! Texts that nobody is shown: a webhook's URL, which is a password to many a chat room, and keys.

use http::Uri;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A URL that shows its host and nothing else. Paths, queries and user names of webhooks are secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl(Uri);

/// A text that is not a webhook's URL. It does not repeat the text, which may hold a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a URL of the form https://host/path or http://host:port/path")]
pub struct SecretUrlError;

impl SecretUrl {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, SecretUrlError> {
        let uri: Uri = text.trim().parse().map_err(|_| SecretUrlError)?;
        let has_host = uri.host().is_some_and(|host| !host.is_empty());
        let url = Self(uri);
        // An `@` in brackets is neither a host nor behind a user name.
        let is_sent_there = url.without_userinfo().host() == url.0.host();
        let is_http = matches!(url.0.scheme_str(), Some("http" | "https"));
        if is_http && has_host && is_sent_there { Ok(url) } else { Err(SecretUrlError) }
    }

    /// Returns the host, which may be shown.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    /// Returns the URL without a user name and password.
    pub(super) fn without_userinfo(&self) -> Uri {
        let mut parts = self.0.clone().into_parts();
        if let Some(authority) = &parts.authority
            && let Some((_, place)) = authority.as_str().rsplit_once('@')
        {
            parts.authority = place.parse().ok();
        }
        Uri::from_parts(parts).unwrap_or_default()
    }

    /// Returns the URL without a user name, with further segments and a query behind its path.
    pub(super) fn with_path(&self, path: &str) -> Result<Uri, http::Error> {
        let own = self.without_userinfo();
        if path.is_empty() {
            return Ok(own);
        }
        let mut parts = own.into_parts();
        let before = parts.path_and_query.as_ref().map_or("/", |own| own.path());
        let whole = format!("{}/{path}", before.trim_end_matches('/'));
        parts.path_and_query = Some(whole.parse()?);
        Ok(Uri::from_parts(parts)?)
    }

    /// Returns `user:password` where the URL holds them.
    pub(super) fn userinfo(&self) -> Option<&str> {
        let (userinfo, _) = self.0.authority()?.as_str().rsplit_once('@')?;
        Some(userinfo)
    }
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct SecretText(String);

impl SecretText {
    /// Hides a text.
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the one who is to know it.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for SecretText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("<secret>")
    }
}

impl std::fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}://{}/<secret>", self.0.scheme_str().unwrap_or_default(), self.host())
    }
}

impl<'de> Deserialize<'de> for SecretUrl {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Writes `<secret>`: a configuration that is shown does not give it away.
impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("<secret>")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_is_shown() {
        let url = SecretUrl::parse("https://me:hunter2@hooks.example/T000/key?x=1").unwrap();

        assert_eq!(format!("{url:?}"), "https://hooks.example/<secret>");
        assert_eq!(serde_json::to_string(&url).unwrap(), "\"<secret>\"");
        assert_eq!(url.without_userinfo(), "https://hooks.example/T000/key?x=1");
        assert_eq!(url.userinfo(), Some("me:hunter2"));
    }

    #[test]
    fn a_path_comes_behind_the_urls_own() {
        for (url, want) in
            [("http://h", "http://h/v2/a?x=1"), ("http://h/base/", "http://h/base/v2/a?x=1")]
        {
            let url = SecretUrl::parse(url).unwrap();
            assert_eq!(url.with_path("v2/a?x=1").unwrap(), want);
        }
    }

    #[test]
    fn what_is_no_url_is_refused_without_being_repeated() {
        for text in ["", "hooks.example/key", "ftp://host/key", "/key", "https:///key"] {
            let error = SecretUrl::parse(text).unwrap_err();

            assert!(!error.to_string().contains("key"), "{error}");
        }
    }
}
