//! Connections without a client behind them: what opens one says a few bytes and leaves it at that.

use std::io::{self, Read, Write};
use std::net::TcpStream;

use super::wait::PATIENCE;

/// Opens a connection, says `bytes`, and leaves it at that.
pub(crate) fn opened(address: &str, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A server that has had enough may have closed it already.
    drop(stream.write_all(bytes));
    stream
}

/// Waits for the end of a connection and returns what came before it.
#[track_caller]
pub(crate) fn wait_for_end(mut stream: TcpStream) -> Vec<u8> {
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => answer,
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => answer,
        Err(error) => panic!("the connection is still open: {error}"),
    }
}
