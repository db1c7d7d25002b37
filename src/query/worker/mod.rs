//! SQL runs in processes of its own, so that no query can take the pipeline down.
//!
//! A worker is this same program, started again as `query-worker`. It gets one question at a time
//! over its standard input, asks for the head's rows as its plan needs them, and answers over its
//! standard output. It has no environment, no store and no key, it limits its own memory and CPU
//! time, and it ends when its input does. The server keeps a few of them waiting, ends one at the
//! deadline or when nobody waits for the answer any more, and starts another: an overflowing stack
//! or a failed allocation costs one query and nothing else (hardening 7).
//!
//! ```text
//! server                                       worker
//!    Hello {memory} ------------------------->    sets its limits
//!    <---------------------------------------- Ready
//!    Question {sql, params, limits, files} -->    counts, parses, plans
//!    <------------------- HeadRanges / HeadOpen   a scan wants the head
//!    <---------------------------------- HeadNext
//!    HeadRows … HeadEnd --------------------->    one batch for each HeadNext
//!    <---------------------------------- Answer   a piece of one Arrow IPC stream, many times
//!    <-------------------------- Done or Failed
//! ```
//!
//! When you change a frame, change both `child` and `conversation`; the two are always the same
//! build, so there is no version.

mod frame;
mod protocol;
mod child;
mod rlimits;
mod conversation;
mod pool;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
#[cfg(test)]
pub(super) mod tests;

pub use child::worker_main;
pub(super) use conversation::HeadSource;
pub(super) use pool::Pool;
pub use pool::WorkerCommand;
