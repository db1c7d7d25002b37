//! What a batch holds: everything in it follows from its number.

use std::ops::Range;

use prost::Message;
use serde_json::{Map, Value};

use super::Signal;
use crate::support::{Request, otlp, remote_write};

const N_SERIES: u64 = 10;

/// The items of one run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Items {
    pub(super) start_ms: i64,
    pub(super) batch_items: u64,
}

impl Items {
    /// Returns the numbers of a batch's items.
    pub(super) fn ids(&self, batch: u64) -> Range<u64> {
        batch * self.batch_items..(batch + 1) * self.batch_items
    }

    /// Returns what sends a batch.
    pub(super) fn request(&self, signal: Signal, batch: u64) -> Request {
        let ids = self.ids(batch);
        let resource = || otlp::resource(&[("service.name", "ledger")]);
        match signal {
            Signal::Samples => {
                let timeseries = ids.map(|id| self.series(id)).collect();
                // Other words each time, so that every flush has a description to write.
                let metadata = vec![remote_write::Metadata {
                    kind: 2,
                    metric: "ledger_samples".to_owned(),
                    help: format!("batch {batch}"),
                }];
                let request = remote_write::WriteRequest { timeseries, metadata };
                remote_write::write_bytes(&request.encode_to_vec())
            }
            Signal::Logs => {
                let records = ids.map(|id| otlp::record(self.at_ns(id), &line(id))).collect();
                otlp::post("/v1/logs", &otlp::logs(resource(), records))
            }
            Signal::Spans => {
                let spans = ids.map(|id| otlp::span(id, self.at_ns(id), &line(id))).collect();
                otlp::post("/v1/traces", &otlp::spans(resource(), spans))
            }
        }
    }

    fn series(&self, id: u64) -> remote_write::TimeSeries {
        let writer = (id % N_SERIES).to_string();
        let labels = [("__name__", "ledger_samples"), ("writer", writer.as_str())];
        remote_write::series(&labels, &[(self.at_ms(id), number(id))])
    }

    /// Returns when an item is, ms since 1970 UTC.
    pub(super) fn at_ms(&self, id: u64) -> i64 {
        self.start_ms + i64::try_from(id).unwrap()
    }

    fn at_ns(&self, id: u64) -> i64 {
        self.at_ms(id) * 1_000_000
    }

    /// Returns the number of a stored item, if all that is stored of it is what was sent.
    pub(super) fn id(&self, signal: Signal, row: &Map<String, Value>) -> Option<u64> {
        let what = row["what"].as_str()?;
        let id = match signal {
            Signal::Samples => row["id"].as_u64()?,
            _ => what.rsplit(' ').next()?.parse().ok()?,
        };
        let (what_sent, at_sent) = match signal {
            Signal::Samples => ((id % N_SERIES).to_string(), self.at_ms(id)),
            _ => (line(id), self.at_ns(id)),
        };
        (what == what_sent && row["at"].as_i64() == Some(at_sent)).then_some(id)
    }
}

fn line(id: u64) -> String {
    format!("item of the ledger {id}")
}

fn number(id: u64) -> f64 {
    f64::from(u32::try_from(id).expect("a run is short"))
}
