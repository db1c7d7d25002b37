//! The router, asked as clients ask it, with a fake behind it.

mod alertmanager;
mod deletions;
mod fake;
mod fake_logs;
mod loki;
mod ops;
mod prometheus;
mod roles;
mod sessions;
mod sql;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use tower::ServiceExt as _;

use super::*;
use crate::auth::{Authenticator, Metrics, TokenTable};
use crate::base::ManualClock;
use crate::base::clock::SharedClock;
use crate::base::units::HumanSize;
use fake::Fake;

/// 2026-11-21 00:00:00 UTC.
const NOW_MS: i64 = 1_795_219_200_000;

const TOKENS: &str = r#"
[[tokens]]
name = "sender"
token = "token-of-the-sender"
commons = "heart"
[[tokens]]
name = "viewer"
token = "token-of-the-viewer"
role = "viewer"
read = ["heart"]
[[tokens]]
name = "developer"
token = "token-of-the-developer"
role = "developer"
read = ["*"]
[[tokens]]
name = "operator"
token = "token-of-the-operator"
role = "operator"
read = ["*"]
[[tokens]]
name = "admin"
token = "token-of-the-admin"
role = "admin"
read = ["*"]
"#;

fn api() -> Api {
    let clock: SharedClock = ManualClock::at_ms(NOW_MS);
    let fake = Arc::new(Fake);
    let readiness = Readiness::new();
    readiness.set(ReadinessState::Ready);
    let (notifier, ledger) = notify::testing::stopped();
    Api {
        ask: Arc::clone(&fake) as _,
        logs: Arc::clone(&fake) as _,
        deleting: Arc::clone(&fake) as _,
        backup: Arc::clone(&fake) as _,
        tails: Tails::new(4, &mut Registry::default()),
        sources: Sources::default(),
        rules: Arc::clone(&fake) as _,
        kept: Arc::clone(&fake) as _,
        notifier,
        ledger,
        inventory: Arc::new(parking_lot::Mutex::new(inventory())),
        reload: fake,
        readiness,
        registry: Arc::new(Registry::default()),
        clock,
        shown_config: Arc::from("[server]\n"),
        retention: Arc::from("90d"),
        started_ms: NOW_MS - 60_000,
        unread: Unread::register(HumanSize::from_mib(64), &mut Registry::default()),
        result_bytes_max: HumanSize::from_mib(64),
    }
}

/// Two commons that sent a log line a minute ago.
fn inventory() -> crate::inventory::Inventory {
    use crate::inventory::{Config, Inventory, Item, Seen};
    let mut inventory = Inventory::new(Config::default(), NOW_MS);
    let seen = |commons: &str| Seen {
        item: Item {
            commons: commons.to_owned(),
            service: None,
            signal: crate::model::Signal::Logs,
        },
        at_ms: NOW_MS - 60_000,
    };
    inventory.look(vec![seen("heart"), seen("canine")], NOW_MS);
    inventory
}

fn guarded(api: Api, tokens: &str) -> Router {
    let tokens = TokenTable::check(&toml::from_str(tokens).unwrap()).unwrap();
    let clock = Arc::clone(&api.clock);
    let router = refuse_other_methods(api.router());
    guard(router, Authenticator::new(tokens, clock, Metrics::default()))
}

/// A server without tokens.
pub(crate) fn open() -> Router {
    guarded(api(), "")
}

/// A server without tokens whose notifier runs on the caller's runtime.
pub(crate) async fn open_live() -> Router {
    let mut api = api();
    let policy = notify::Policy::from(&notify::Config::default());
    (api.notifier, api.ledger) = notify::testing::live(policy, Arc::clone(&api.clock)).await;
    guarded(api, "")
}

struct Answered {
    status: u16,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

impl Answered {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn send(router: Router, request: Request<Body>) -> Answered {
    let response = router.oneshot(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let bytes = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec();
    Answered { status, headers, bytes }
}

async fn get(target: &str) -> Answered {
    send(open(), Request::get(target).body(Body::empty()).unwrap()).await
}

async fn post_form(target: &str, form: &str) -> Answered {
    let request = Request::post(target).header("content-type", "application/x-www-form-urlencoded");
    send(open(), request.body(Body::from(form.to_owned())).unwrap()).await
}

fn exchange_request(exchange: &fixture::Exchange) -> Request<Body> {
    let mut request =
        Request::builder().method(exchange.method.as_str()).uri(exchange.target.as_str());
    for (name, value) in &exchange.headers {
        request = request.header(name, value);
    }
    request.body(Body::from(exchange.body.clone())).unwrap()
}
