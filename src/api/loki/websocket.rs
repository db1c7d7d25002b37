//! As much of WebSocket (RFC 6455) as sending text to a client takes: the handshake, text frames
//! out, and pings and closes in.
//!
//! A tail has nothing to hear from its client, so a message of the client's is passed over, and one
//! that is longer than a control frame may be ends the connection.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

/// What the protocol adds to a client's key.
const MAGIC: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// The longest frame that is read.
const FRAME_BYTES_MAX: usize = 4096;

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Returns the answer to a client's key, when the request is a handshake.
pub(super) fn accept_of(headers: &HeaderMap) -> Option<String> {
    let has = |name, wanted: &str| {
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.flat_map(|list| list.split(',')).any(|one| one.trim().eq_ignore_ascii_case(wanted))
    };
    let key = headers.get(header::SEC_WEBSOCKET_KEY)?.to_str().ok()?;
    let is_handshake = has(header::UPGRADE, "websocket")
        && has(header::CONNECTION, "upgrade")
        && has(header::SEC_WEBSOCKET_VERSION, "13");
    is_handshake.then(|| STANDARD.encode(sha1(format!("{key}{MAGIC}").as_bytes())))
}

/// Sends a text.
pub(super) async fn send_text(to: &mut (impl AsyncWrite + Unpin), text: &str) -> io::Result<()> {
    send(to, TEXT, text.as_bytes()).await
}

/// Says goodbye: a code and a reason.
pub(super) async fn send_close(
    to: &mut (impl AsyncWrite + Unpin),
    code: u16,
    reason: &str,
) -> io::Result<()> {
    let mut end = reason.len().min(120);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..end]);
    send(to, CLOSE, &payload).await
}

/// Sends a ping.
pub(super) async fn send_ping(to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
    send(to, PING, b"").await
}

async fn send(to: &mut (impl AsyncWrite + Unpin), opcode: u8, payload: &[u8]) -> io::Result<()> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        n @ 0..=125 => frame.push(u8::try_from(n).expect("less than 126")),
        n => match u16::try_from(n) {
            Ok(n) => {
                frame.push(126);
                frame.extend_from_slice(&n.to_be_bytes());
            }
            Err(_) => {
                frame.push(127);
                frame.extend_from_slice(&(n as u64).to_be_bytes());
            }
        },
    }
    frame.extend_from_slice(payload);
    to.write_all(&frame).await?;
    to.flush().await
}

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// A ping, which wants its payload back.
    Ping(Vec<u8>),
    /// It goes.
    Close,
    /// Something that concerns nobody.
    Other,
}

/// Answers a ping.
pub(super) async fn send_pong(
    to: &mut (impl AsyncWrite + Unpin),
    payload: &[u8],
) -> io::Result<()> {
    send(to, PONG, payload).await
}

/// Reads a frame.
pub(super) async fn hear(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Heard> {
    let mut head = [0; 2];
    from.read_exact(&mut head).await?;
    let (opcode, is_masked) = (head[0] & 0x0f, head[1] & 0x80 != 0);
    let n_bytes = match head[1] & 0x7f {
        126 => usize::from(from.read_u16().await?),
        127 => usize::try_from(from.read_u64().await?).unwrap_or(usize::MAX),
        n => usize::from(n),
    };
    if n_bytes > FRAME_BYTES_MAX || !is_masked {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut mask = [0; 4];
    from.read_exact(&mut mask).await?;
    let mut payload = vec![0; n_bytes];
    from.read_exact(&mut payload).await?;
    payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    Ok(match opcode {
        CLOSE => Heard::Close,
        PING => Heard::Ping(payload),
        _ => Heard::Other,
    })
}

/// SHA-1, which the handshake wants and nothing else may use.
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut state: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % 64 != 56 {
        padded.push(0);
    }
    padded.extend_from_slice(&(8 * message.len() as u64).to_be_bytes());
    for block in padded.chunks_exact(64) {
        let mut words = [0_u32; 80];
        for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
            *word = u32::from_be_bytes(bytes.try_into().expect("four bytes"));
        }
        for at in 16..80 {
            let mixed = words[at - 3] ^ words[at - 8] ^ words[at - 14] ^ words[at - 16];
            words[at] = mixed.rotate_left(1);
        }
        let [mut a, mut b, mut c, mut d, mut e] = state;
        for (at, word) in words.iter().enumerate() {
            let (f, k) = match at {
                0..20 => ((b & c) | (!b & d), 0x5a82_7999),
                20..40 => (b ^ c ^ d, 0x6ed9_eba1),
                40..60 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
                _ => (b ^ c ^ d, 0xca62_c1d6_u32),
            };
            let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e);
            let next = next.wrapping_add(k).wrapping_add(*word);
            (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
        }
        for (total, part) in state.iter_mut().zip([a, b, c, d, e]) {
            *total = total.wrapping_add(part);
        }
    }
    let mut digest = [0; 20];
    for (bytes, word) in digest.chunks_exact_mut(4).zip(state) {
        bytes.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handshake_is_that_of_the_standard() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ] {
            headers.insert(name, value.parse().unwrap());
        }

        assert_eq!(accept_of(&headers).as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        headers.remove("upgrade");
        assert_eq!(accept_of(&headers), None);
    }

    #[tokio::test]
    async fn frames_go_out_and_come_in() {
        let (mut server, mut client) = tokio::io::duplex(1 << 20);

        send_text(&mut server, "ab").await.unwrap();
        send_text(&mut server, &"x".repeat(300)).await.unwrap();
        send_text(&mut server, &"x".repeat(70_000)).await.unwrap();
        let mut heads = [0; 4];
        client.read_exact(&mut heads).await.unwrap();
        assert_eq!(heads, [0x81, 2, b'a', b'b']);
        client.read_exact(&mut heads).await.unwrap();
        assert_eq!(heads, [0x81, 126, 1, 44]);
        let mut rest = vec![0; 300 + 10];
        client.read_exact(&mut rest).await.unwrap();
        assert_eq!(rest[300..], [0x81, 127, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);

        client.write_all(&[0x89, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]).await.unwrap();
        assert_eq!(hear(&mut server).await.unwrap(), Heard::Ping(b"hi".to_vec()));
        client.write_all(&[0x88, 0x80, 0, 0, 0, 0]).await.unwrap();
        assert_eq!(hear(&mut server).await.unwrap(), Heard::Close);
        client.write_all(&[0x81, 0xfe, 0xff, 0xff]).await.unwrap();
        assert!(hear(&mut server).await.is_err());
    }
}
