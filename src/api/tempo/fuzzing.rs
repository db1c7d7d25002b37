//! What must hold of any question to Tempo: it is refused for a reason, or becomes TraceQL.

use prost::Message;

use super::proto::{QueryRangeRequest, SearchRequest, SearchTagValuesRequest, SearchTagsRequest};
use super::streaming::decoded;
use super::{questions, search};
use crate::query::traceql::{Limits, parse};

/// The body of a call, its message, and the tags of a search.
pub(in crate::api) fn calls(bytes: &[u8]) {
    drop(decoded::<QueryRangeRequest>(bytes));
    drop(decoded::<SearchTagsRequest>(bytes));
    drop(decoded::<SearchTagValuesRequest>(bytes));
    // Most bytes have another length in front: the message itself, too.
    for message in [decoded::<SearchRequest>(bytes).ok(), SearchRequest::decode(bytes).ok()] {
        message.iter().for_each(check_search);
    }
    let text = String::from_utf8_lossy(bytes);
    if let Ok(tags) = search::logfmt(&text) {
        assert!(tags.keys().all(|name| !name.is_empty()), "{text}");
        check_search(&SearchRequest { tags, ..SearchRequest::default() });
    }
}

fn check_search(request: &SearchRequest) {
    let Ok(query) = questions::query_of(request) else { return };
    drop(parse(&query, &Limits::default()));
}
