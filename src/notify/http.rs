//! What a receiver's `http_config` says: how its URL is asked. Shown, it has no secret.

use super::secret::SecretText;
use super::tls::Tls;

/// How a receiver is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct HttpOptions {
    /// The whole value of `Authorization`.
    pub(super) authorization: Option<SecretText>,
    /// Further headers.
    pub(super) headers: Vec<(String, SecretText)>,
    /// Whom to trust and who we are, where that is not as usual.
    pub(super) tls: Option<Tls>,
}
