//! Remote write from the request to what the store got.

mod http;
mod samples;
mod v2;
mod slow_disk;
mod walker;
