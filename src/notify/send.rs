//! One attempt to deliver one notification.

use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use bytes::Bytes;
use chrono::DateTime;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER, USER_AGENT};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{FixedServerNameResolver, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use crate::base::clock::SharedClock;

use super::address::AddressPolicy;
use super::connect::CheckedConnector;
use super::mail;
use super::sign::Signer;
use super::target::{Speech, Target};
use super::tls::Tls;

/// How long one attempt may take, resolving and connecting included.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The longest time that a receiver's `timeout` may give it.
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// How much of an answer is read, so that the connection can be used again; none of it is shown.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// One notification for one receiver.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Where and how.
    pub(super) target: Target,
    /// How long the attempt may take; none: the usual time.
    pub(super) timeout: Option<Duration>,
    /// The same for every attempt, also after a restart.
    pub idempotency_key: String,
    /// What comes behind the receiver's URL.
    pub(super) path: String,
    /// The body, JSON; of a mail what its relay is told.
    pub body: String,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// 2xx.
    Delivered {
        /// Its status.
        status: u16,
    },
    /// An answer that will be the same next time.
    Refused {
        /// Its status.
        status: u16,
    },
    /// No answer, or one that asks to come again.
    Failed {
        /// What happened, with nothing of the URL but its host and nothing of the answer's body.
        reason: String,
        /// Its status, where one came.
        status: Option<u16>,
        /// How long the receiver asks to be left alone.
        retry_after: Option<Duration>,
    },
}

/// Delivers notifications.
#[async_trait]
pub trait Sender: Send + Sync {
    /// Makes one attempt; it ends within seconds.
    async fn send(&self, delivery: &Delivery) -> Outcome;
}

/// Delivers notifications over HTTP, and mail to relays.
#[derive(Debug, Clone)]
pub struct WebhookSender {
    policy: AddressPolicy,
    client: Client<HttpsConnector<CheckedConnector>, Full<Bytes>>,
    signer: Option<Signer>,
    clock: SharedClock,
}

impl WebhookSender {
    /// Returns a sender that goes only where the policy allows. It follows no redirects and knows
    /// no proxies. With a signer, every webhook is signed.
    pub fn new(policy: AddressPolicy, signer: Option<Signer>, clock: SharedClock) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(CheckedConnector { policy: policy.clone() });
        let client = Client::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(connector);
        Self { policy, client, signer, clock }
    }

    /// Returns a client for a receiver with authorities or a certificate of its own; its connection serves
    /// one attempt.
    fn client_with(&self, tls: &Tls) -> Client<HttpsConnector<CheckedConnector>, Full<Bytes>> {
        let (config, server_name) = tls.for_client();
        let connector = HttpsConnectorBuilder::new().with_tls_config(config).https_or_http();
        let connector = match server_name {
            Some(name) => connector.with_server_name_resolver(FixedServerNameResolver::new(name)),
            None => connector,
        };
        let checked = CheckedConnector { policy: self.policy.clone() };
        Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(connector.enable_http1().wrap_connector(checked))
    }

    async fn attempt(&self, delivery: &Delivery) -> Outcome {
        if let Speech::Email(email) = &delivery.target.speech {
            return match serde_json::from_str(&delivery.body) {
                Ok(letter) => mail::send(&self.policy, &email.relay, &letter).await,
                Err(error) => failed(format!("the stored message cannot be read: {error}")),
            };
        }
        let request = match self.request(delivery) {
            Ok(request) => request,
            Err(error) => return failed(format!("cannot make a request of it: {error}")),
        };
        let client = delivery.target.http.tls.as_ref().map(|tls| self.client_with(tls));
        match client.as_ref().unwrap_or(&self.client).request(request).await {
            Ok(response) => {
                let (head, body) = response.into_parts();
                drop(Limited::new(body, ANSWER_BYTES_MAX).collect().await);
                judge(head.status, &head.headers, self.clock.now_ms())
            }
            Err(error) => failed(chain(&error)),
        }
    }

    fn request(&self, delivery: &Delivery) -> Result<Request<Full<Bytes>>, http::Error> {
        let Target { url, http, speech } = &delivery.target;
        let mut request = Request::post(url.with_path(&delivery.path)?)
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("commonwatch/", env!("CARGO_PKG_VERSION")))
            .header("Idempotency-Key", &delivery.idempotency_key);
        let is_webhook = matches!(speech, Speech::Webhook { .. } | Speech::Text);
        if let Some(signer) = self.signer.as_ref().filter(|_| is_webhook) {
            let now_s = self.clock.now_ms().div_euclid(1_000);
            request = request.header(SIGNATURE, signer.header(now_s, delivery.body.as_bytes()));
        }
        for (name, value) in &http.headers {
            request = request.header(name, value.reveal());
        }
        if let Some(authorization) = &http.authorization {
            request = request.header(AUTHORIZATION, authorization.reveal());
        } else if let Some(userinfo) = url.userinfo() {
            let encoded = base64::engine::general_purpose::STANDARD.encode(userinfo);
            request = request.header(AUTHORIZATION, format!("Basic {encoded}"));
        }
        request.body(Full::new(Bytes::from(delivery.body.clone())))
    }
}

/// Who wrote the body, when: `t=<seconds since 1970>,v1=<hex HMAC-SHA256 of "<t>.<body>">`.
const SIGNATURE: &str = "X-Commonwatch-Signature";

#[async_trait]
impl Sender for WebhookSender {
    async fn send(&self, delivery: &Delivery) -> Outcome {
        let timeout = delivery.timeout.unwrap_or(TIMEOUT).min(TIMEOUT_MAX);
        match tokio::time::timeout(timeout, self.attempt(delivery)).await {
            Ok(outcome) => outcome,
            Err(_) => failed(format!("no answer within {timeout:?}")),
        }
    }
}

/// Says what an answer means: only what may be different next time is tried again.
fn judge(status: StatusCode, headers: &HeaderMap, now_ms: i64) -> Outcome {
    let come_again = status.is_server_error()
        || matches!(status.as_u16(), 408 | 425)
        || status == StatusCode::TOO_MANY_REQUESTS;
    match status {
        status if status.is_success() => Outcome::Delivered { status: status.as_u16() },
        status if come_again => Outcome::Failed {
            reason: format!("answered {}", status.as_u16()),
            status: Some(status.as_u16()),
            retry_after: retry_after(headers, now_ms),
        },
        status => Outcome::Refused { status: status.as_u16() },
    }
}

/// Reads `Retry-After`: seconds, or a date (RFC 9110).
fn retry_after(headers: &HeaderMap, now_ms: i64) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(secs) = text.parse() {
        return Some(Duration::from_secs(secs));
    }
    let at_ms = DateTime::parse_from_rfc2822(text).ok()?.timestamp_millis();
    Some(Duration::from_millis(at_ms.saturating_sub(now_ms).max(0).unsigned_abs()))
}

pub(super) fn failed(reason: String) -> Outcome {
    Outcome::Failed { reason, status: None, retry_after: None }
}

/// Joins an error with its causes; hyper's own text says only "client error (Connect)".
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(status: u16, want: &str) {
        let got = match judge(StatusCode::from_u16(status).unwrap(), &HeaderMap::new(), 0) {
            Outcome::Delivered { .. } => "delivered",
            Outcome::Refused { .. } => "refused",
            Outcome::Failed { .. } => "failed",
        };
        assert_eq!(got, want, "{status}");
    }

    #[test]
    fn only_what_may_change_is_tried_again() {
        for status in [200, 202, 204] {
            check(status, "delivered");
        }
        for status in [301, 302, 307, 400, 401, 403, 404, 410, 413, 422] {
            check(status, "refused");
        }
        for status in [408, 425, 429, 500, 502, 503, 504] {
            check(status, "failed");
        }
    }

    #[test]
    fn the_receiver_may_ask_for_a_pause() {
        // 1994-11-06T08:49:30Z
        let now_ms = 784_111_770_000;
        for (text, want) in [
            ("7", Some(7)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(7)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("soon", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, text.parse().unwrap());

            let outcome = judge(StatusCode::TOO_MANY_REQUESTS, &headers, now_ms);

            let want = want.map(Duration::from_secs);
            assert!(
                matches!(outcome, Outcome::Failed { retry_after, .. } if retry_after == want),
                "{text}: {outcome:?}"
            );
        }
    }
}
