//! From the headers of a request to a `Grant`.

use std::net::IpAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use parking_lot::{Mutex, RwLock};

use super::failures::Failures;
use super::{AuthError, Metrics, SharedTokens, TokenTable};
use crate::base::clock::SharedClock;
use crate::model::Grant;

/// Decides who sent a request. Cloning costs a few counters.
#[derive(Debug, Clone)]
pub struct Authenticator {
    tokens: SharedTokens,
    open: Arc<Grant>,
    failures: Arc<Mutex<Failures>>,
    clock: SharedClock,
    metrics: Metrics,
}

impl Authenticator {
    /// Returns an authenticator over the given tokens; without any, everyone may do everything.
    /// `config` refuses that combination with a listener that other machines can reach.
    pub fn new(tokens: TokenTable, clock: SharedClock, metrics: Metrics) -> Self {
        Self {
            tokens: Arc::new(RwLock::new(Arc::new(tokens))),
            open: Arc::new(Grant::open()),
            failures: Arc::default(),
            clock,
            metrics,
        }
    }

    /// Replaces the tokens; requests under way keep the grant they got.
    pub fn replace(&self, tokens: TokenTable) {
        *self.tokens.write() = Arc::new(tokens);
    }

    /// Returns true when no token is configured.
    pub fn is_open(&self) -> bool {
        self.tokens.read().is_empty()
    }

    /// Returns what the sender of these headers may do.
    pub fn authenticate(
        &self,
        headers: &HeaderMap,
        address: Option<IpAddr>,
    ) -> Result<Arc<Grant>, AuthError> {
        let tokens = Arc::clone(&self.tokens.read());
        if tokens.is_empty() {
            return Ok(Arc::clone(&self.open));
        }
        let found = token_of(headers)
            .and_then(|token| tokens.find(token.as_bytes()).ok_or(AuthError::Unknown));
        match found {
            Ok(_) => drop(self.metrics.accepted.inc()),
            Err(ref error) => return Err(self.refuse(error.clone(), address)),
        }
        found
    }

    fn refuse(&self, error: AuthError, address: Option<IpAddr>) -> AuthError {
        // A request without any credential is a browser or a probe, not a guess.
        let refusal = match (&error, address) {
            (AuthError::Missing, _) | (_, None) => error,
            (_, Some(address)) => {
                let now_ns = self.clock.monotonic_ns();
                match self.failures.lock().count(address, now_ns) {
                    Ok(()) => error,
                    Err(retry_after_s) => AuthError::TooMany { retry_after_s },
                }
            }
        };
        self.metrics.count_refusal(&refusal);
        refusal
    }
}

/// Returns the token of the `Authorization` header: Bearer's text, or Basic's password.
fn token_of(headers: &HeaderMap) -> Result<String, AuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().ok_or(AuthError::Missing)?;
    if values.next().is_some() {
        return Err(AuthError::Malformed);
    }
    let text = value.to_str().map_err(|_| AuthError::Malformed)?;
    let (scheme, rest) = text.trim().split_once(' ').ok_or(AuthError::Malformed)?;
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !rest.is_empty() {
        return Ok(rest.to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(AuthError::Malformed);
    }
    let decoded = STANDARD.decode(rest).map_err(|_| AuthError::Malformed)?;
    let pair = String::from_utf8(decoded).map_err(|_| AuthError::Malformed)?;
    let (_user, password) = pair.split_once(':').ok_or(AuthError::Malformed)?;
    Ok(password.to_owned())
}
