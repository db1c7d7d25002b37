//! A webhook receiver that keeps what it is sent.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::Value;

/// Listens on loopback until the process ends; each body it gets is answered with 200.
#[derive(Debug, Clone)]
pub(crate) struct Sink {
    address: String,
    received: Arc<Mutex<Vec<Value>>>,
}

impl Sink {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has ports");
        let address = listener.local_addr().expect("it is bound").to_string();
        let sink = Self { address, received: Arc::default() };
        let received = Arc::clone(&sink.received);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let received = Arc::clone(&received);
                std::thread::spawn(move || drop(serve(&stream, &received)));
            }
        });
        sink
    }

    /// Returns where to post to.
    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Returns all bodies so far.
    pub(crate) fn received(&self) -> Vec<Value> {
        self.received.lock().expect("no thread panicked with it").clone()
    }
}

fn serve(stream: &TcpStream, received: &Mutex<Vec<Value>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length: u64 = 0;
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            if reader.read_line(&mut line)? == 0 {
                return Ok(());
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(std::io::Error::other)?;
            }
        }
        let mut body = Vec::new();
        (&mut reader).take(length).read_to_end(&mut body)?;
        let body = serde_json::from_slice(&body).map_err(std::io::Error::other)?;
        received.lock().expect("no thread panicked with it").push(body);
        (&*stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")?;
    }
}
