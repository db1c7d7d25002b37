//! Stories about the whole server, told through its ports: each starts the real binary, talks to
//! it as its users do, and looks at what it kept.
//!
//! `rooms` and `guarantees` are the exceptions: they read the source, and hold it to the map in
//! `src/lib.rs` and to what the documents promise.
#![expect(clippy::unwrap_used, reason = "a story that cannot go on should say so at once")]

mod support;

mod rooms;

mod alerting;
mod backup;
mod bad_input;
#[cfg(debug_assertions)]
mod broken_disk;
mod cardinality;
mod clients;
mod command_line;
#[cfg(debug_assertions)]
mod crash_points;
mod connections;
mod damage;
mod damaged_state;
mod dashboards;
mod deletion;
mod demo;
mod durability;
mod full_disk;
mod grafana;
#[cfg(debug_assertions)]
mod guarantees;
mod hostile;
mod logql;
mod neighbours;
mod object_storage;
mod overflow;
mod overload;
mod paging;
mod parquet;
mod points;
mod promql_peer;
mod push;
mod query_safety;
mod remote_read;
mod replay;
mod restart;
mod scenarios;
mod scope;
mod scope_canaries;
mod tails;
mod tls;
mod traces;
