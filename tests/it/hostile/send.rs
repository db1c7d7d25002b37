//! Sends a case and waits for what comes of it, half a minute at most.

use std::io::{self, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use super::case::{Case, Port, Wire};
use super::frames::{self, Frames};
use crate::support::http::{Response, read_response};
use crate::support::otlp::{GrpcAnswer, call_bytes};
use crate::support::server::Addresses;

/// Whatever is sent, the server has said something by then. Ten seconds are plenty on a machine of
/// its own; the rest is for one that is shared, which is no defect.
const DEADLINE: Duration = Duration::from_secs(30);

pub(super) type Answer = Response;

/// What came back.
#[derive(Debug)]
pub(super) enum Got {
    Http(Answer),
    Grpc(GrpcAnswer),
    Frames(Frames),
    /// Nothing, and why: closed, reset, or a hang.
    Nothing(String),
}

pub(super) fn send(addresses: &Addresses, case: &Case) -> Got {
    let address = match case.port {
        Port::Http => &addresses.http,
        Port::OtlpHttp => &addresses.otlp_http,
        Port::OtlpGrpc => &addresses.otlp_grpc,
    };
    match &case.wire {
        Wire::Request(request) => over_http(address, &request.to_bytes(address)),
        Wire::Bytes(bytes) => over_http(address, bytes),
        Wire::Frames(bytes) => over_frames(address, bytes),
        Wire::Call { method, headers, body } => {
            match call_bytes(address, method, headers, body.clone(), DEADLINE) {
                Ok(answer) => Got::Grpc(answer),
                Err(error) => Got::Nothing(error),
            }
        }
    }
}

fn over_http(address: &str, bytes: &[u8]) -> Got {
    match exchange(address, bytes) {
        Ok(answer) => Got::Http(answer),
        Err(error) => Got::Nothing(why(&error)),
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn exchange(address: &str, bytes: &[u8]) -> io::Result<Answer> {
    let mut stream = connect(address)?;
    // Who refuses early may stop reading; what counts is whether the answer can be read.
    let written = stream.write_all(bytes);
    let mut stream = BufReader::new(stream);
    let answer = loop {
        let answer = read_response(&mut stream)?;
        if answer.status >= 200 {
            break answer;
        }
    };
    match written {
        Err(error) if answer.status < 400 => Err(error),
        _ => Ok(answer),
    }
}

fn over_frames(address: &str, bytes: &[u8]) -> Got {
    let talk = || -> io::Result<Vec<u8>> {
        let mut stream = connect(address)?;
        drop(stream.write_all(bytes));
        let mut answer = Vec::new();
        let mut buffer = [0; 16 << 10];
        while !frames::parse(&answer).has_ended() {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(n) => answer.extend(&buffer[..n]),
                // A reset after words is an end like any other.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error),
            }
        }
        Ok(answer)
    };
    match talk() {
        Ok(bytes) => Got::Frames(frames::parse(&bytes)),
        Err(error) => Got::Nothing(why(&error)),
    }
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => format!("hang: {error}"),
        io::ErrorKind::UnexpectedEof => "closed without an answer".to_owned(),
        _ => error.to_string(),
    }
}
