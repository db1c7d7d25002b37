//! What must hold of any client that follows logs: it costs a frame of memory at a time, and a ping is
//! answered with what it said.

use http::{HeaderMap, HeaderValue, header};

use super::websocket::{Heard, accept_of, hear, send_pong};

/// The frames of a client; the same bytes are the key of a handshake.
pub(in crate::api) fn frames(bytes: &[u8]) {
    let mut from = bytes;
    futures::executor::block_on(async {
        while let Ok(heard) = hear(&mut from).await {
            let Heard::Ping(payload) = heard else { continue };
            let mut answer = Vec::new();
            send_pong(&mut answer, &payload).await.expect("memory takes everything");
            assert!(answer.ends_with(&payload) && answer.len() <= payload.len() + 4);
        }
    });
    let Ok(key) = HeaderValue::from_bytes(bytes) else { return };
    let mut headers = HeaderMap::new();
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(header::SEC_WEBSOCKET_KEY, key);
    let accept = accept_of(&headers);
    assert!(accept.is_none_or(|accept| accept.len() == 28), "a digest has 20 bytes");
}
