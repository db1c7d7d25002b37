//! Who calls whom: the span of the caller and that of the called are two halves of one call.
//!
//! A caller's half is known by its own id, the called one's by its parent's, which is the same. The
//! first half to come waits for the other, but not for ever, and only so many wait at a time. A
//! caller that names a database, or whose called one never came but was named, is a call all the
//! same: not every peer sends spans.

use std::collections::VecDeque;

use hashbrown::HashMap;
use xxhash_rust::xxh3::xxh3_128;

use super::{Span, label};
use crate::base::units::HumanDuration;
use crate::derive::book::{Book, Family};
use crate::model::json_read::{Json, get};
use crate::model::{MetricKind, Tags};

static REQUESTS: Family =
    Family { name: "traces_service_graph_request_total", kind: MetricKind::Counter, unit: "" };
static FAILED: Family = Family {
    name: "traces_service_graph_request_failed_total",
    kind: MetricKind::Counter,
    unit: "",
};
static CLIENT: Family = Family {
    name: "traces_service_graph_request_client_seconds",
    kind: MetricKind::Histogram,
    unit: "s",
};
static SERVER: Family = Family {
    name: "traces_service_graph_request_server_seconds",
    kind: MetricKind::Histogram,
    unit: "s",
};

const DATABASE: &str = "database";
const MESSAGING: &str = "messaging_system";
const VIRTUAL: &str = "virtual_node";

/// Which half of a call a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    /// Returns the half that spans of a kind are, if they are one.
    pub(super) fn of(kind: &str) -> Option<Self> {
        match kind {
            "client" | "producer" => Some(Side::Client),
            "server" | "consumer" => Some(Side::Server),
            _ => None,
        }
    }
}

/// A half that waits for the other.
#[derive(Debug)]
struct Half {
    side: Side,
    tags: Tags,
    service: Box<str>,
    /// Whom the caller says that it called.
    peer: Option<Box<str>>,
    is_messaging: bool,
    is_failed: bool,
    duration_s: f64,
}

/// The halves that wait, of one commons.
#[derive(Debug)]
pub(super) struct Graph {
    waiting: HashMap<u128, Half>,
    /// In the order they came; those that were met are gone from `waiting` already.
    order: VecDeque<(u64, u128)>,
    waiting_max: usize,
    wait_ns: u64,
    n_overflows: u64,
}

impl Graph {
    /// Returns a graph in which so many halves wait for so long.
    pub(super) fn new(waiting_max: usize, wait: HumanDuration) -> Self {
        Self {
            waiting: HashMap::new(),
            order: VecDeque::new(),
            waiting_max,
            wait_ns: u64::try_from(wait.0.as_nanos()).unwrap_or(u64::MAX),
            n_overflows: 0,
        }
    }

    /// Takes a half: it meets the other, or waits.
    pub(super) fn take(
        &mut self,
        book: &mut Book,
        tags: &Tags,
        span: &Span<'_>,
        side: Side,
        now_ns: u64,
    ) {
        let call = match side {
            Side::Client => span.span_id,
            Side::Server => span.parent_span_id,
        };
        if call.is_empty() {
            return; // Nobody called it.
        }
        let half = half(tags, span, side);
        if side == Side::Client
            && let Some(database) = database(span.attributes)
        {
            // A database sends no spans: there is nothing to wait for.
            let called = Half { side: Side::Server, service: database, ..half_like(&half) };
            return count(book, &half, &called, DATABASE);
        }
        let key = xxh3_128(format!("{}{call}", span.trace_id).as_bytes());
        match self.waiting.get(&key) {
            Some(other) if other.side != side => {
                let other = self.waiting.remove(&key).expect("it was just found");
                let (client, server) =
                    if side == Side::Client { (half, other) } else { (other, half) };
                let is_messaging = client.is_messaging || server.is_messaging;
                count(book, &client, &server, if is_messaging { MESSAGING } else { "" });
            }
            // The same span once more, or a second one that answers the same call.
            Some(_) => {}
            None if self.waiting.len() >= self.waiting_max => self.n_overflows += 1,
            None => {
                self.waiting.insert(key, half);
                self.order.push_back((now_ns, key));
            }
        }
    }

    /// Lets go of the halves that have waited long enough.
    pub(super) fn expire(&mut self, book: &mut Book, now_ns: u64) {
        while let Some((since_ns, key)) = self.order.front().copied() {
            let is_met = !self.waiting.contains_key(&key);
            if !is_met && now_ns.saturating_sub(since_ns) < self.wait_ns {
                break;
            }
            self.order.pop_front();
            let Some(half) = self.waiting.remove(&key) else { continue };
            if let (Side::Client, Some(peer)) = (half.side, &half.peer) {
                let called = Half { side: Side::Server, service: peer.clone(), ..half_like(&half) };
                count(book, &half, &called, VIRTUAL);
            }
        }
    }

    /// Returns how many halves found no place since the last call.
    pub(super) fn take_overflows(&mut self) -> u64 {
        std::mem::take(&mut self.n_overflows)
    }

    #[cfg(test)]
    pub(super) fn n_waiting(&self) -> usize {
        self.waiting.len()
    }
}

fn half(tags: &Tags, span: &Span<'_>, side: Side) -> Half {
    let peer = text(span.attributes, &["peer.service", "server.address", "net.peer.name"]);
    Half {
        side,
        tags: tags.clone(),
        service: Box::from(span.service),
        peer: peer.filter(|_| side == Side::Client),
        is_messaging: matches!(span.kind, "producer" | "consumer"),
        is_failed: span.status == "error",
        duration_s: span.duration_s,
    }
}

/// The called half as far as the caller knows it.
fn half_like(half: &Half) -> Half {
    Half {
        side: half.side,
        tags: half.tags.clone(),
        service: half.service.clone(),
        peer: None,
        is_messaging: half.is_messaging,
        is_failed: half.is_failed,
        duration_s: half.duration_s,
    }
}

/// Returns the database that a caller names, as Tempo looks for it.
fn database(attributes: &str) -> Option<Box<str>> {
    text(attributes, &["db.namespace", "db.name", "db.system.name", "db.system"])
}

fn text(attributes: &str, names: &[&str]) -> Option<Box<str>> {
    names.iter().find_map(|name| match Json::of(get(attributes, name)?) {
        Json::Text(text) if !text.is_empty() => Some(Box::from(label(&text))),
        _ => None,
    })
}

fn count(book: &mut Book, client: &Half, server: &Half, connection: &str) {
    let pairs = [
        ("client", &*client.service),
        ("server", &*server.service),
        ("connection_type", connection),
    ];
    let tags = &client.tags;
    book.count(&REQUESTS, tags, &pairs, 1.0);
    // Born with the calls, so that a share of failed ones can be worked out from the first on.
    let n_failed = f64::from(u8::from(client.is_failed || server.is_failed));
    book.count(&FAILED, tags, &pairs, n_failed);
    book.observe(&CLIENT, tags, &pairs, client.duration_s);
    book.observe(&SERVER, tags, &pairs, server.duration_s);
}
