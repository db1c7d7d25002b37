//! What must hold of any `Authorization` header: only the token opens the door.

use std::sync::LazyLock;

use http::{HeaderMap, HeaderValue, header};

use super::{Authenticator, Config, Metrics, Secret, TokenConfig, TokenTable};
use crate::base::ManualClock;

const TOKEN: &str = "the-right-token-1234";

/// The value of the header.
pub fn auth_header(bytes: &[u8]) {
    static AUTHENTICATOR: LazyLock<Authenticator> = LazyLock::new(|| {
        let token = TokenConfig {
            name: "sender".to_owned(),
            token: Some(Secret::new(TOKEN)),
            write: Some("any".to_owned()),
            ..TokenConfig::default()
        };
        let table = TokenTable::check(&Config { tokens: vec![token] }).expect("a good token");
        Authenticator::new(table, ManualClock::at_ms(0), Metrics::default())
    });
    let Ok(value) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(header::AUTHORIZATION, value);
    if AUTHENTICATOR.authenticate(&headers, None).is_ok() {
        let text = String::from_utf8_lossy(bytes).to_lowercase();
        assert!(text.contains(TOKEN) || text.trim().starts_with("basic"), "{text} was let in");
    }
}
