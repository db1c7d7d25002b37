//! What the stories share: the server as a process, its callers, and the senders it must serve.
//!
//! Everything listens on loopback, every wait has a limit, and what was started is killed by its
//! own process id.

pub(crate) mod http;
pub(crate) mod raw;
pub(crate) mod tls;
pub(crate) mod wait;

pub(crate) mod ask;
pub(crate) mod cage;
pub(crate) mod server;
pub(crate) mod two_commons;

pub(crate) mod loki;
pub(crate) mod otlp;
pub(crate) mod remote_write;

pub(crate) mod ledger;
pub(crate) mod process;
pub(crate) mod programs;
pub(crate) mod receiver;
pub(crate) mod rounds;
pub(crate) mod s3;
pub(crate) mod simulated;
pub(crate) mod sink;

pub(crate) use ask::Caller;
pub(crate) use http::Request;
pub(crate) use server::{Server, Setup};
