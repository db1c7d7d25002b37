//! From kill -9 to the first right answer.

use std::io;
use std::time::Duration;

use commonwatch::base::clock::{Clock, SystemClock};

use super::steady::is_same;
use crate::ingest::run::start_ms;
use crate::load::remote_write::{self, CHECKED_METRIC};
use crate::load::send::{pause, send};
use crate::servers::{Kind, Server};

const N_SERIES: u64 = 10_000;
/// Six hours of samples: 14.4 million.
const N_ROUNDS: u64 = 1_440;
/// A server that has not given the right answer by then has lost what it acknowledged.
const PATIENCE_S: f64 = 60.0;

/// How long until a killed server answers again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Restart {
    /// Any answer at all, right or wrong.
    pub(crate) first_answer_s: f64,
    /// The last acknowledged samples, all of them; `None` when they did not come back.
    pub(crate) right_answer_s: Option<f64>,
}

/// Kills a server at the last acknowledgement, starts it again and asks.
pub(crate) fn measure(kind: Kind) -> io::Result<Restart> {
    let server = Server::start(kind)?;
    let mut load = remote_write::load(N_SERIES, N_ROUNDS - 1);
    let start_ms = start_ms(&load);
    let address = server.address(load.port).to_owned();
    send(&mut load, &address, 0..N_ROUNDS, start_ms)?;
    let last_round = N_ROUNDS - 1;
    let wanted = remote_write::checked_sum(N_SERIES, last_round);
    let time_ms = start_ms + last_round * remote_write::INTERVAL_MS;

    let clock = SystemClock::new();
    let killed_ns = clock.monotonic_ns();
    let server = server.kill_and_restart()?;
    let elapsed_s = || Duration::from_nanos(clock.monotonic_ns() - killed_ns).as_secs_f64();
    let mut first_answer_s = None;
    while elapsed_s() < PATIENCE_S {
        if let Some(sum) = server.ask_sum(CHECKED_METRIC, time_ms) {
            let now_s = elapsed_s();
            let first_answer_s = *first_answer_s.get_or_insert(now_s);
            if is_same(sum, wanted) {
                return Ok(Restart { first_answer_s, right_answer_s: Some(now_s) });
            }
            // What is not there five seconds after the first answer will not come.
            if now_s > first_answer_s + 5.0 {
                return Ok(Restart { first_answer_s, right_answer_s: None });
            }
        }
        pause(Duration::from_millis(5));
    }
    let message = format!("{} gave no answer in {PATIENCE_S} s", kind.name());
    Err(io::Error::other(message))
}
