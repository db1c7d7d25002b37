//! Asking a server, and what it took.

use std::io;

use commonwatch::base::clock::{Clock, SystemClock};

use super::answer::Answer;
use super::list::{Ask, Question};
use crate::load::Port;
use crate::load::http::Getter;
use crate::servers::Server;

/// A question is asked until the server has worked on it for this long, since the kernel counts in
/// hundredths of a second.
const CPU_S: f64 = 0.3;
const WALL_S: f64 = 4.0;
const ASKED_MIN: usize = 3;
const ASKED_MAX: usize = 400;

/// What a question took.
#[derive(Debug, Clone, Copy)]
pub(super) struct Took {
    pub(super) cpu_ms: f64,
    pub(super) p50_ms: f64,
}

/// A connection to a server, and what there is to ask about.
pub(super) struct Asker {
    getter: Getter,
    clock: SystemClock,
    start_s: u64,
    end_s: u64,
}

impl Asker {
    /// Connects to a server with data of a time.
    pub(super) fn connect(server: &Server, start_s: u64, end_s: u64) -> io::Result<Self> {
        let getter = Getter::connect(server.address(Port::Http))?;
        Ok(Self { getter, clock: SystemClock::new(), start_s, end_s })
    }

    /// Asks once.
    pub(super) fn once(
        &mut self,
        server: &Server,
        question: &Question,
    ) -> io::Result<(Took, Answer)> {
        let path = self.path(question);
        let (cpu_s, start_ns) = (server.process().cpu_s()?, self.clock.monotonic_ns());
        let body = self.getter.get(&path)?;
        let p50_ms = ms(self.clock.monotonic_ns() - start_ns);
        let cpu_ms = (server.process().cpu_s()? - cpu_s) * 1e3;
        let not_read = || {
            let text = String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned();
            io::Error::other(format!("{path}: {text}"))
        };
        Ok((Took { cpu_ms, p50_ms }, Answer::read(&body).ok_or_else(not_read)?))
    }

    /// Asks again and again.
    pub(super) fn often(&mut self, server: &Server, question: &Question) -> io::Result<Took> {
        let path = self.path(question);
        let (before_s, start_ns) = (server.process().cpu_s()?, self.clock.monotonic_ns());
        let mut took_ns = Vec::new();
        loop {
            let asked_ns = self.clock.monotonic_ns();
            self.getter.get(&path)?;
            let now_ns = self.clock.monotonic_ns();
            took_ns.push(now_ns - asked_ns);
            let cpu_s = server.process().cpu_s()? - before_s;
            let n = took_ns.len();
            let is_enough = cpu_s >= CPU_S || ms(now_ns - start_ns) >= WALL_S * 1e3;
            if n >= ASKED_MAX || is_enough && n >= ASKED_MIN {
                took_ns.sort_unstable();
                let p50_ms = ms(took_ns[n / 2]);
                #[expect(clippy::cast_precision_loss, reason = "a few hundred")]
                return Ok(Took { cpu_ms: cpu_s * 1e3 / n as f64, p50_ms });
            }
        }
    }

    fn path(&self, question: &Question) -> String {
        let Self { start_s, end_s, .. } = *self;
        match &question.ask {
            Ask::At(query) => {
                format!("/api/v1/query?query={}&time={end_s}&nocache=1", encoded(query))
            }
            Ask::Last(query, length_s, step_s) => {
                // As dashboards do, a time that the step divides; but not one of a sample.
                let (query, start_s) = (encoded(query), end_s - length_s);
                format!(
                    "/api/v1/query_range?query={query}&start={start_s}&end={end_s}&step={step_s}&nocache=1"
                )
            }
            Ask::Names(path, matches) => {
                let matches = matches.as_ref().map(|text| format!("&match[]={}", encoded(text)));
                let matches = matches.unwrap_or_default();
                format!("/api/v1/{path}?start={start_s}&end={end_s}{matches}")
            }
        }
    }
}

/// Returns a text as a parameter.
pub(in crate::peers) fn encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(byte).collect()
}

fn ms(ns: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "times far below 2^53 ns")]
    let ns = ns as f64;
    ns / 1e6
}
