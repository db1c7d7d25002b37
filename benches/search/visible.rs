//! How long a line takes from its sending until a question finds it, while others come in.

use std::io;

use commonwatch::base::clock::{Clock, SystemClock};

use super::ask::{Figure, encoded};
use super::lines::{Lines, request_id};
use crate::load::http::{Poster, get};
use crate::load::{OTLP_HEADERS, Port};
use crate::servers::{Kind, Server};

/// How many lines are waited for, each the last of a request of a thousand.
const N_WAITED: u64 = 300;
/// How often a line is asked for before it counts as lost.
const ASKED_MAX: u32 = 10_000;

/// Sends requests one after the other and asks for the last line of each until it is there.
pub(super) fn measure() -> io::Result<Figure> {
    eprintln!("==> from sent to seen");
    let server = Server::start(Kind::Commonwatch)?;
    let mut poster = Poster::connect(server.address(Port::OtlpHttp), "/v1/logs", OTLP_HEADERS)?;
    let clock = SystemClock::new();
    let before_s = server.process().cpu_s()?;
    let mut took_ns = Vec::new();
    let n = N_WAITED * super::lines::PER_REQUEST;
    for number in 0..N_WAITED {
        let end_ns = u64::try_from(clock.now_ms()).expect("after 1970") * 1_000_000;
        // All of them in the last minute.
        let lines = Lines { n, start_ns: end_ns - 60_000_000_000, end_ns };
        let (_, body) = lines.request(number);
        let last = request_id((number + 1) * super::lines::PER_REQUEST - 1);
        let query = encoded(&format!("{{service=~\".+\"}} |= `{last}`"));
        let path = format!(
            "/loki/api/v1/query_range?query={query}&start={}&end={}&limit=10",
            lines.start_ns,
            end_ns + 60_000_000_000
        );
        let start_ns = clock.monotonic_ns();
        poster.post(&body)?;
        let mut n_asked = 0;
        while !get(server.address(Port::Http), &path)?.contains(&last) {
            n_asked += 1;
            if n_asked > ASKED_MAX {
                return Err(io::Error::other(format!("{last} is not to be seen")));
            }
        }
        took_ns.push(clock.monotonic_ns() - start_ns);
    }
    let cpu_s = server.process().cpu_s()? - before_s;
    took_ns.sort_unstable();
    let ms = |share: usize| super::number(took_ns[(took_ns.len() - 1) * share / 100]) / 1e6;
    Ok(Figure {
        name: "from sent to seen (p50, p99)".to_owned(),
        p50_ms: ms(50),
        max_ms: ms(99),
        cpu_ms: cpu_s * 1e3 / super::number(N_WAITED),
        n_found: took_ns.len(),
    })
}
