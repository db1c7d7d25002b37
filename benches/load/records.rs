//! Templates of OTLP records as requests, and what logs, spans and points have in common.

use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::resource::v1::Resource;

use super::mix::pick;
use super::patch::Template;
use super::{Batch, Load, OTLP_HEADERS, Port};

/// Records in a request.
pub(super) const PER_REQUEST: u64 = 1_000;
/// Templates of logs and spans, each from a resource of its own.
const N_TEMPLATES: u64 = 16;

/// Returns a load of logs or spans, `n_requests` in all, whose records follow each other in time.
pub(super) fn load(
    path: &'static str,
    n_requests: u64,
    template: impl Fn(u64) -> Template,
) -> Load {
    Load {
        path,
        headers: OTLP_HEADERS,
        port: Port::OtlpHttp,
        batches: batches((0..N_TEMPLATES).map(template), 997),
        n_rounds: n_requests / N_TEMPLATES,
        round_ms: 1_000,
        n_warm_up_rounds: 0,
    }
}

/// A template of records as one request of each round.
struct Records {
    template: Template,
    number: u64,
    n_batches: u64,
    spacing_ns: u64,
}

/// Returns one batch a template, its records `spacing_ns` apart; 0 gives all the time of their
/// round.
pub(super) fn batches(
    templates: impl Iterator<Item = Template>,
    spacing_ns: u64,
) -> Vec<Box<dyn Batch>> {
    let templates: Vec<Template> = templates.collect();
    let n_batches = u64::try_from(templates.len()).expect("a list in memory");
    let records = (0..).zip(templates).map(|(number, template)| -> Box<dyn Batch> {
        Box::new(Records { template, number, n_batches, spacing_ns })
    });
    records.collect()
}

impl Batch for Records {
    fn fill(&mut self, round: u64, time_ms: u64) -> &[u8] {
        let n_records = self.template.n_records();
        let first = (round * self.n_batches + self.number) * n_records;
        let start_ns = time_ms * 1_000_000 + self.number * n_records * self.spacing_ns;
        self.template.fill(first, |record| start_ns + record * self.spacing_ns);
        &self.template.body
    }

    fn n_items(&self) -> u64 {
        self.template.n_records()
    }
}

/// Returns a string value.
pub(crate) fn text(value: &str) -> AnyValue {
    AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) }
}

/// Returns a string attribute.
pub(crate) fn attribute(key: &str, value: &str) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(text(value)), ..KeyValue::default() }
}

/// Returns one of the resources that the load comes from.
pub(super) fn resource(number: u64) -> Resource {
    let service = pick(&["fence", "indexd", "sheepdog", "guppy", "peregrine"], number);
    let attributes = vec![
        attribute("service.name", service),
        attribute("service.instance.id", &format!("{service}-{number}")),
        attribute("k8s.namespace.name", "genomeprod-helm"),
        attribute("k8s.pod.name", &format!("{service}-deployment-{number:04}")),
        attribute("k8s.cluster.name", "genomeprod"),
        attribute("hostname", &format!("commons-{:02}.data.example", number % 10)),
    ];
    Resource { attributes, ..Resource::default() }
}
