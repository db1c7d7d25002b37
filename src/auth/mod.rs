//! A credential becomes a `Grant`, or is refused; nothing below the edges ever sees the secret.
//!
//! The one idea: a token is known by its SHA-256 alone. The configuration is read into a table
//! from digest to [`Grant`]; a request's token is hashed, looked up and compared in constant time,
//! then forgotten. What a refusal looks like on the wire is `api`'s business.
//!
//! When you add a way to log in, also touch: `api::guard` (who calls this), the role matrix in
//! `tests/cases/roles.txt`, `docs/configuration.md`.

mod authenticate;
mod failures;
mod secret;
mod token;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::base::Kind;

pub use authenticate::Authenticator;
pub use secret::{Secret, refuse_open_file};
pub use token::{Config, OneOrMany, TokenConfig, TokenMistake, TokenTable};

/// The address a request came from; the server puts it into each request's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(pub IpAddr);

/// Why a credential was refused. No variant can hold the secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// There was none.
    #[error(
        "a token is needed: send `Authorization: Bearer <token>`, or Basic with the token as password"
    )]
    Missing,
    /// The header is neither Bearer nor Basic, or not well-formed.
    #[error(
        "the Authorization header is not understood: send `Bearer <token>`, or Basic with the token as password"
    )]
    Malformed,
    /// No configured token has this digest.
    #[error("the token is not known to this server")]
    Unknown,
    /// Too many refusals from one address; a right token is still let in.
    #[error("too many failed logins from this address: retry in {retry_after_s} s")]
    TooMany {
        /// When to come back.
        retry_after_s: u32,
    },
}

impl AuthError {
    /// Returns what the error asks of the caller.
    pub fn kind(&self) -> Kind {
        match self {
            AuthError::Missing | AuthError::Malformed | AuthError::Unknown => Kind::Unauthenticated,
            AuthError::TooMany { .. } => Kind::Overloaded,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            AuthError::Missing => "missing",
            AuthError::Malformed => "malformed",
            AuthError::Unknown => "unknown",
            AuthError::TooMany { .. } => "too_many",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    reason: &'static str,
}

/// What the room counts.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    accepted: Counter,
    refused: Family<RefusalLabels, Counter>,
}

impl Metrics {
    /// Returns the room's metrics, registered as `commonwatch_auth_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "commonwatch_auth_accepted_logins",
            "Requests whose credential was known",
            metrics.accepted.clone(),
        );
        registry.register(
            "commonwatch_auth_refused_logins",
            "Requests whose credential was missing, malformed, unknown, or one failure too many",
            metrics.refused.clone(),
        );
        metrics
    }

    fn count_refusal(&self, error: &AuthError) {
        self.refused.get_or_create(&RefusalLabels { reason: error.reason() }).inc();
    }
}

/// A table of tokens that can be replaced while requests run.
pub type SharedTokens = Arc<parking_lot::RwLock<Arc<TokenTable>>>;
