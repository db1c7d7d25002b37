//! Just enough HTTP/1.1 to post bodies over a kept connection and read the status of each answer.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;

/// A connection that posts to one path.
#[derive(Debug)]
pub(crate) struct Poster {
    stream: BufReader<TcpStream>,
    head: String,
}

impl Poster {
    /// Connects; `headers` go into every request, each line ended by CR LF.
    pub(crate) fn connect(address: &str, path: &str, headers: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let head = format!("POST {path} HTTP/1.1\r\nHost: {address}\r\n{headers}Content-Length: ");
        Ok(Self { stream: BufReader::new(stream), head })
    }

    /// Posts a body and waits for a 2xx.
    pub(crate) fn post(&mut self, body: &[u8]) -> io::Result<()> {
        self.ask(body).map(drop)
    }

    /// Posts a body and returns what a 2xx brings.
    pub(crate) fn ask(&mut self, body: &[u8]) -> io::Result<Vec<u8>> {
        let head = format!("{}{}\r\n\r\n", self.head, body.len());
        let stream = self.stream.get_mut();
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let (status, answer) = self.read_answer()?;
        if (200..300).contains(&status) {
            return Ok(answer);
        }
        Err(io::Error::other(format!("{status}: {}", String::from_utf8_lossy(&answer))))
    }

    fn read_answer(&mut self) -> io::Result<(u16, Vec<u8>)> {
        read_answer(&mut self.stream)
    }
}

/// A connection that asks one question after the other.
#[derive(Debug)]
pub(crate) struct Getter {
    stream: BufReader<TcpStream>,
    address: String,
}

impl Getter {
    pub(crate) fn connect(address: &str) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(1 << 16, stream), address: address.to_owned() })
    }

    /// Sends one GET and returns what a 200 brings.
    pub(crate) fn get(&mut self, path: &str) -> io::Result<Vec<u8>> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.address);
        self.stream.get_mut().write_all(head.as_bytes())?;
        let (status, answer) = read_answer(&mut self.stream)?;
        if status == 200 {
            return Ok(answer);
        }
        let text = String::from_utf8_lossy(&answer);
        Err(io::Error::other(format!("{path}: {status}: {text}")))
    }
}

/// Reads an answer that says how long it is, or comes in chunks.
fn read_answer(stream: &mut BufReader<TcpStream>) -> io::Result<(u16, Vec<u8>)> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("not HTTP: {line:?}")))?;
    let (mut length, mut is_chunked): (u64, bool) = (0, false);
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.split_once(':') else { break };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        }
        is_chunked |= name.eq_ignore_ascii_case("transfer-encoding") && value.trim() == "chunked";
    }
    let mut body = Vec::new();
    if !is_chunked {
        stream.take(length).read_to_end(&mut body)?;
        return Ok((status, body));
    }
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
        stream.take(length).read_to_end(&mut body)?;
        line.clear();
        stream.read_line(&mut line)?;
        if length == 0 {
            return Ok((status, body));
        }
    }
}

/// Sends one GET on a connection of its own and returns the whole answer, head included.
pub(crate) fn get(address: &str, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Sends one POST without a body and wants a 2xx.
pub(crate) fn post_empty(address: &str, path: &str) -> io::Result<()> {
    Poster::connect(address, path, "")?.post(b"")
}
