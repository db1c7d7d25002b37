//! A webhook receiver that keeps what it is sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// One body with what came with it: under one lock, since requests come side by side.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) path: String,
    /// Its `Idempotency-Key`.
    pub(super) key: String,
    pub(super) body: Value,
}

impl Received {
    /// Reads one request; `None` when the sender is done, or when `goes_on` says no after a line.
    pub(super) fn read(
        reader: &mut impl BufRead,
        mut goes_on: impl FnMut() -> bool,
    ) -> std::io::Result<Option<Self>> {
        let mut length: u64 = 0;
        let (mut path, mut key, mut line) = (String::new(), String::new(), String::new());
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 || !goes_on() {
                return Ok(None);
            }
            if path.is_empty() {
                path = line.split(' ').nth(1).unwrap_or_default().to_owned();
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
            if let Some(value) = lower.strip_prefix("idempotency-key:") {
                value.trim().clone_into(&mut key);
            }
        }
        let mut body = Vec::new();
        reader.take(length).read_to_end(&mut body)?;
        let body = serde_json::from_slice(&body).map_err(std::io::Error::other)?;
        Ok(Some(Self { path, key, body }))
    }
}

/// Listens on loopback until the process ends; each body it gets is answered with 200, except while
/// it is down.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    address: String,
    received: Arc<Mutex<Vec<Received>>>,
    is_down: Arc<AtomicBool>,
    /// Takes what it is sent and never answers.
    is_mute: Arc<AtomicBool>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound").to_string();
        let sink = Self {
            address,
            received: Arc::default(),
            is_down: Arc::default(),
            is_mute: Arc::default(),
        };
        let shared = sink.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sink = shared.clone();
                std::thread::spawn(move || drop(sink.serve(&stream)));
            }
        });
        sink
    }

    /// Breaks every connection without an answer from now on, or answers again.
    pub(crate) fn set_down(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }

    /// Keeps what it is sent and hangs up without an answer from now on, or answers again.
    pub(crate) fn set_mute(&self, is_mute: bool) {
        self.is_mute.store(is_mute, Ordering::SeqCst);
    }

    /// Returns all bodies so far, each with its `Idempotency-Key`.
    pub(crate) fn keyed(&self) -> Vec<(String, Value)> {
        let received = self.received.lock().expect("no thread panicked with it");
        received.iter().map(|one| (one.key.clone(), one.body.clone())).collect()
    }

    /// Returns where to post to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Returns all bodies so far.
    pub(crate) fn received(&self) -> Vec<Value> {
        self.requests().into_iter().map(|(_, body)| body).collect()
    }

    /// Returns path and body of all requests so far.
    pub(crate) fn requests(&self) -> Vec<(String, Value)> {
        let received = self.received.lock().expect("no thread panicked with it");
        received.iter().map(|one| (one.path.clone(), one.body.clone())).collect()
    }

    fn serve(&self, stream: &TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(received) = Received::read(&mut reader, || true)? {
            if self.is_down.load(Ordering::SeqCst) {
                return Ok(());
            }
            self.received.lock().expect("no thread panicked with it").push(received);
            if self.is_mute.load(Ordering::SeqCst) {
                return Ok(());
            }
            (&*stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
        }
        Ok(())
    }
}
