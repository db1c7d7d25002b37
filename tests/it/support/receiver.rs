//! A webhook receiver with bad manners, until it is cured.

use std::io::{BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use super::sink::Received;
use super::wait::pause;

/// What a receiver does while it is ill.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Manner {
    /// Nothing wrong.
    Well,
    /// Takes a connection and closes it.
    HangsUp,
    /// Closes when it has read the first line.
    CutsRequest,
    /// Answers 500.
    Fails,
    /// Answers 429, and asks for two seconds.
    Busy,
    /// Takes everything and never answers.
    Hangs,
    /// Takes everything and closes in the middle of its status line.
    CutsAnswer,
    /// Takes everything and answers 200 when it is cured, to whoever may still be there.
    AnswersLate,
}

/// What was heard: the key that names the notification, and its body.
#[derive(Debug, Clone)]
pub(crate) struct Heard {
    pub(crate) key: String,
    pub(crate) body: Value,
}

/// Listens on loopback until the process ends.
#[derive(Debug, Clone)]
pub(crate) struct Receiver {
    pub(crate) manner: Manner,
    address: String,
    is_cured: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Receiver {
    pub(crate) fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound").to_string();
        let receiver = Self { manner, address, is_cured: Arc::default(), heard: Arc::default() };
        let shared = receiver.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let receiver = shared.clone();
                std::thread::spawn(move || drop(receiver.serve(&stream)));
            }
        });
        receiver
    }

    /// Returns where to post to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Behaves from now on.
    pub(crate) fn cure(&self) {
        self.is_cured.store(true, Ordering::SeqCst);
    }

    /// Returns all that was heard, in its order.
    pub(crate) fn heard(&self) -> Vec<Heard> {
        self.heard.lock().expect("no thread panicked with it").clone()
    }

    fn is_ill(&self) -> bool {
        !self.is_cured.load(Ordering::SeqCst)
    }

    /// Serves one request; the connection is closed behind it.
    fn serve(&self, mut stream: &TcpStream) -> std::io::Result<()> {
        let manner = if self.is_ill() { self.manner } else { Manner::Well };
        if manner == Manner::HangsUp {
            return Ok(());
        }
        let mut reader = BufReader::with_capacity(64, stream);
        let goes_on = || manner != Manner::CutsRequest;
        let Some(received) = Received::read(&mut reader, goes_on)? else {
            return stream.shutdown(Shutdown::Both);
        };
        let Received { key, body, .. } = received;
        self.heard.lock().expect("no thread panicked with it").push(Heard { key, body });
        let answer = match manner {
            Manner::CutsAnswer => "HTTP/1.1 20",
            Manner::Fails => "HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            Manner::Busy => {
                "HTTP/1.1 429 Busy\r\nRetry-After: 2\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            }
            _ => "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        };
        while matches!(manner, Manner::Hangs | Manner::AnswersLate) && self.is_ill() {
            pause(Duration::from_millis(20));
        }
        if manner == Manner::Hangs {
            return Ok(());
        }
        stream.write_all(answer.as_bytes())
    }
}
