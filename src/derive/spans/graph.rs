//! Who calls whom: the span of the caller and that of the called are two halves of one call.
//!
//! A caller's half is known by its own id, the called one's by its parent's, which is the same. The
//! first half to come waits for the other, but not for ever, and only so many wait at a time. A
//! caller that names a database, or whose called one never came but was named, is a call all the
//! same: not every peer sends spans.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128_with_seed};

use super::{Party, Span, label};
use crate::base::units::HumanDuration;
use crate::derive::book::{Book, Family, Pairs, Tally};
use crate::derive::examples::SpanRef;
use crate::model::json_read::{Json, Name};
use crate::model::{MetricKind, Tags};

pub(super) static REQUESTS: Family =
    Family { name: "traces_service_graph_request_total", kind: MetricKind::Counter, unit: "" };
pub(super) static FAILED: Family = Family {
    name: "traces_service_graph_request_failed_total",
    kind: MetricKind::Counter,
    unit: "",
};
static CLIENT: Family = Family {
    name: "traces_service_graph_request_client_seconds",
    kind: MetricKind::Histogram,
    unit: "s",
};
pub(super) static SERVER: Family = Family {
    name: "traces_service_graph_request_server_seconds",
    kind: MetricKind::Histogram,
    unit: "s",
};

/// Where a caller says whom it calls.
static PEER: LazyLock<[Name; 3]> =
    LazyLock::new(|| ["peer.service", "server.address", "net.peer.name"].map(Name::new));
/// Where a caller of a database says whom it calls: the database's own name may be that of a service.
static DATABASE_PEER: LazyLock<[Name; 2]> =
    LazyLock::new(|| ["peer.service", "server.address"].map(Name::new));
/// The same by its address.
static PEER_ADDRESS: LazyLock<Name> = LazyLock::new(|| Name::new("network.peer.address"));
static PEER_PORT: LazyLock<Name> = LazyLock::new(|| Name::new("network.peer.port"));
/// Where a caller names a database, as Tempo looks for it.
static DATABASE_NAME: LazyLock<[Name; 4]> =
    LazyLock::new(|| ["db.namespace", "db.name", "db.system.name", "db.system"].map(Name::new));

const DATABASE: &str = "database";
const MESSAGING: &str = "messaging_system";
pub(super) const VIRTUAL: &str = "virtual_node";

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
    party: Arc<Party>,
    /// Whom the caller says that it called.
    peer: Option<Box<str>>,
    is_messaging: bool,
    outcome: Outcome,
}

/// How a call went, as one half saw it.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    is_failed: bool,
    duration_s: f64,
    span: Option<SpanRef>,
}

/// Whom a call went to.
struct Called<'a> {
    service: &'a str,
    namespace: &'a str,
    saw: Outcome,
}

impl<'a> Called<'a> {
    /// Returns the one whose half came.
    fn of(half: &'a Half) -> Self {
        let Party { service, namespace, .. } = &*half.party;
        Self { service, namespace, saw: half.outcome }
    }

    /// Returns one that the caller named: what it knows is all there is.
    fn named(service: &'a str, saw: Outcome) -> Self {
        Self { service, namespace: "", saw }
    }
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
        party: &Arc<Party>,
        span: &Span<'_>,
        side: Side,
        now_ns: u64,
    ) {
        let call = match side {
            Side::Client => span.span_id,
            Side::Server => span.parent_span_id,
        };
        if call.is_empty() {
            return; // There is nothing that the other half could know it by.
        }
        let outcome = Outcome {
            is_failed: span.is_failed,
            duration_s: span.duration_s,
            span: SpanRef::of(span.trace_id, span.span_id),
        };
        if side == Side::Client
            && let Some(database) = database(span.attributes)
        {
            // A database sends no spans: there is nothing to wait for.
            return count(book, (party, outcome), &Called::named(&database, outcome), DATABASE);
        }
        let n_waiting = self.waiting.len();
        match self.waiting.entry(key_of(span.trace_id, call)) {
            Entry::Occupied(other) if other.get().side != side => {
                let other = other.remove();
                meet(book, half(party, span, side, outcome), other);
            }
            // The same span once more, or a second one that answers the same call.
            Entry::Occupied(_) => {}
            Entry::Vacant(_) if n_waiting >= self.waiting_max => self.n_overflows += 1,
            Entry::Vacant(place) => {
                self.order.push_back((now_ns, *place.key()));
                let peer = match side {
                    Side::Client => text(span.attributes, &*PEER),
                    Side::Server => None,
                };
                place.insert(Half { peer, ..half(party, span, side, outcome) });
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
            if let Some(peer) = &half.peer {
                let called = Called::named(peer, half.outcome);
                count(book, (&half.party, half.outcome), &called, VIRTUAL);
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

/// Returns the hash of the ids that both halves of a call know it by.
fn key_of(trace_id: &str, call: &str) -> u128 {
    xxh3_128_with_seed(call.as_bytes(), xxh3_64(trace_id.as_bytes()))
}

/// Counts the call whose halves these are.
fn meet(book: &mut Book, this: Half, other: Half) {
    let (client, server) = match this.side {
        Side::Client => (this, other),
        Side::Server => (other, this),
    };
    let is_messaging = client.is_messaging || server.is_messaging;
    let connection = if is_messaging { MESSAGING } else { "" };
    count(book, (&client.party, client.outcome), &Called::of(&server), connection);
}

fn half(party: &Arc<Party>, span: &Span<'_>, side: Side, outcome: Outcome) -> Half {
    let party = Arc::clone(party);
    Half { side, party, peer: None, is_messaging: span.is_messaging, outcome }
}

/// Returns what a database is called in the graph, when a span says that it calls one: what it is reached
/// by comes before its name, as in Tempo.
fn database(attributes: &str) -> Option<Box<str>> {
    let name = text(attributes, &*DATABASE_NAME)?;
    let peer = text(attributes, &*DATABASE_PEER).or_else(|| address(attributes));
    Some(peer.unwrap_or(name))
}

fn address(attributes: &str) -> Option<Box<str>> {
    let host = text(attributes, std::slice::from_ref(&*PEER_ADDRESS))?;
    Some(match PEER_PORT.get(attributes).map(Json::of) {
        Some(Json::Number(port)) => format!("{host}:{port}").into(),
        Some(Json::Text(port)) => format!("{host}:{}", label(&port)).into(),
        _ => host,
    })
}

fn text(attributes: &str, names: &[Name]) -> Option<Box<str>> {
    names.iter().find_map(|name| match Json::of(name.get(attributes)?) {
        Json::Text(text) if !text.is_empty() => Some(Box::from(label(&text))),
        _ => None,
    })
}

/// Counts a call: by whom, of whom, and how each saw it go.
fn count(
    book: &mut Book,
    (client, client_saw): (&Party, Outcome),
    called: &Called<'_>,
    connection: &str,
) {
    let pairs = [
        ("client", &*client.service),
        ("server", called.service),
        ("connection_type", connection),
        ("client_service_namespace", &*client.namespace),
        ("server_service_namespace", called.namespace),
    ];
    // Left out where neither side has one, or the series `other` would have them as well.
    let has_namespace = !client.namespace.is_empty() || !called.namespace.is_empty();
    let (pairs, tags) = (if has_namespace { &pairs[..] } else { &pairs[..3] }, &client.tags);
    book.count(&REQUESTS, tags, pairs, 1.0);
    // Born with the calls, so that a share of failed ones can be worked out from the first on.
    let n_failed = f64::from(u8::from(client_saw.is_failed || called.saw.is_failed));
    book.count(&FAILED, tags, pairs, n_failed);
    observe(book, &CLIENT, (tags, pairs), client_saw);
    observe(book, &SERVER, (tags, pairs), called.saw);
}

fn observe(
    book: &mut Book,
    family: &'static Family,
    (tags, pairs): (&Tags, Pairs<'_>),
    saw: Outcome,
) {
    let mut tally = Tally::new(family);
    tally.add(saw.duration_s);
    tally.exemplify(saw.duration_s, saw.span);
    book.observe_all(&tally, tags, pairs);
}
