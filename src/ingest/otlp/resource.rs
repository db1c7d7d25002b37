//! What is known of a resource: its attributes as JSON text, its tags, and the labels that its
//! metrics share. All records of a process share one resource, so it is worked out once and then
//! found by the hash of its raw bytes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::json_text::{JsonText, split_key_value, string_value};
use crate::ingest::Seed;
use crate::ingest::outcome::Refusal;
use crate::ingest::records::{Context, Origin, RowError, Rules};
use crate::ingest::wire::{Field, Reader, WireError};
use crate::model::span_rest::ColumnRest;

/// Resources remembered in each half of the cache; a full resource is about 2 KiB.
const HALF_MAX: usize = 4_096;
/// Bytes remembered in each half: at the limits, a resource has four megabytes.
const HALF_BYTES_MAX: usize = 16 << 20;
/// How long a decision stands: tagging learns, and its rules are reloaded.
const KEPT_NS: i64 = 60_000_000_000;

/// A resource, decided.
#[derive(Debug)]
pub(in crate::ingest) struct Resource {
    /// The seeded hash of its bytes; part of the keys of its series.
    pub(in crate::ingest) key: u128,
    /// Its attributes, a JSON object.
    pub(in crate::ingest) json: String,
    /// What that object cannot say.
    pub(in crate::ingest) rest: ColumnRest,
    /// Where its rows belong.
    pub(in crate::ingest) origin: Arc<Origin>,
    /// Its attributes as label values: strings as they are, everything else as text.
    pub(in crate::ingest) attributes: Vec<(String, String)>,
    /// The `job` label of its series: `namespace/name`, or `name`, or empty.
    pub(in crate::ingest) job: String,
    decided_ns: i64,
}

impl Resource {
    /// Returns the value of an attribute.
    pub(in crate::ingest) fn get(&self, key: &str) -> Option<&str> {
        find(&self.attributes, key)
    }

    /// Returns the `instance` label of its series, or the empty string.
    pub(in crate::ingest) fn instance(&self) -> &str {
        self.get("service.instance.id").unwrap_or("")
    }

    /// Returns about how much memory it takes.
    fn n_bytes(&self) -> usize {
        let of_pair = |(name, value): &(String, String)| {
            name.capacity() + value.capacity() + size_of::<(String, String)>()
        };
        let attributes: usize = self.attributes.iter().map(of_pair).sum();
        size_of::<Self>() + self.json.capacity() + attributes
    }

    fn read(ctx: &Context<'_>, key: u128, reader: Reader<'_>) -> Result<Self, RowError> {
        let (json, rest, attributes) = read_attributes(reader, &ctx.rules())?;
        let attribute = |key: &str| find(&attributes, key).map(str::to_owned);
        let tags = ctx.ingest.tagger.tag_resource(ctx.sender.grant, ctx.sender.tenant, &attribute);
        ctx.ingest.may_store(ctx.sender.grant, &tags.commons)?;
        let origin = Arc::new(Origin { tags, app: app(&attributes).to_owned() });
        let job = job(find(&attributes, "service.namespace"), find(&attributes, "service.name"));
        Ok(Self { key, json, rest, origin, attributes, job, decided_ns: ctx.now_ns })
    }
}

/// Returns the application as Kubernetes' labels or the sender name it.
fn app(attributes: &[(String, String)]) -> &str {
    ["app", "k8s.pod.labels.app", "service.name", "k8s.container.name", "container"]
        .into_iter()
        .find_map(|key| find(attributes, key))
        .unwrap_or("")
}

fn job(namespace: Option<&str>, name: Option<&str>) -> String {
    match (namespace, name) {
        (Some(namespace), Some(name)) if !namespace.is_empty() => format!("{namespace}/{name}"),
        (_, name) => name.unwrap_or("").to_owned(),
    }
}

fn find<'a>(attributes: &'a [(String, String)], key: &str) -> Option<&'a str> {
    attributes.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

type Attributes = Vec<(String, String)>;

fn read_attributes(
    mut reader: Reader<'_>,
    rules: &Rules<'_>,
) -> Result<(String, ColumnRest, Attributes), RowError> {
    let mut dropped = 0;
    let (mut json, mut value) = (JsonText::default(), JsonText::default());
    let mut attributes = Attributes::new();
    json.begin();
    while let Some(field) = reader.next_field()? {
        if field.number == 2 {
            dropped = field.uint32()?;
        }
        if field.number == 1 {
            json.attribute(&field, rules)?;
            let (key, text) = label_pair(&field, &mut value, rules)?;
            if find(&attributes, &key).is_none() {
                attributes.push((key, text));
            }
        }
    }
    let rest = ColumnRest { dropped, ..json.rest().clone() };
    Ok((json.end().to_owned(), rest, attributes))
}

/// Returns the key of a `KeyValue`, and its value as text.
pub(super) fn label_pair(
    field: &Field<'_>,
    scratch: &mut JsonText,
    rules: &Rules<'_>,
) -> Result<(String, String), RowError> {
    let (key, value) = split_key_value(field)?;
    let key = String::from_utf8_lossy(key).into_owned();
    let text = match value {
        None => String::new(),
        Some(value) => match string_value(value.message()?)? {
            Some(text) => rules.scrub_attribute(&key, String::from_utf8_lossy(text)).into_owned(),
            None => plain_text(scratch.value_alone(value.message()?, rules)?),
        },
    };
    Ok((key, text))
}

/// Turns JSON into what a label shows: no `null`, no quotes around base64 and `NaN`, and whole
/// doubles without `.0`, as the OpenTelemetry Collector writes them.
fn plain_text(json: &str) -> String {
    let text = json.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(json);
    let is_container = json.starts_with(['[', '{']);
    match text {
        "null" => String::new(),
        text if is_container => text.to_owned(),
        text => text.strip_suffix(".0").unwrap_or(text).to_owned(),
    }
}

/// Resources by the seeded hash of their bytes, at most `2 * HALF_MAX` of them and two halves of
/// `HALF_BYTES_MAX`. When one half is full the older half is forgotten.
#[derive(Debug, Default)]
pub(in crate::ingest) struct ResourceCache {
    halves: Mutex<Halves>,
}

#[derive(Debug, Default)]
struct Halves {
    young: HashMap<u128, Arc<Resource>>,
    young_bytes: usize,
    old: HashMap<u128, Arc<Resource>>,
}

impl ResourceCache {
    /// Returns the resource in `field`, a `Resource` message, deciding it if it is not known.
    pub(super) fn get(
        &self,
        ctx: &Context<'_>,
        field: Option<Field<'_>>,
    ) -> Result<Result<Arc<Resource>, Refusal>, WireError> {
        let reader = field.map_or(Ok(Reader::new(&[])), |field| field.message())?;
        let key = Seed::new(ctx.sender, "otlp resource").key(reader.rest());
        if let Some(resource) = self.known(key, ctx.now_ns) {
            return Ok(Ok(resource));
        }
        match Resource::read(ctx, key, reader) {
            Ok(resource) => Ok(Ok(self.insert(Arc::new(resource)))),
            Err(RowError::Refused(refusal)) => Ok(Err(refusal)),
            Err(RowError::Wire(error)) => Err(error),
        }
    }

    fn known(&self, key: u128, now_ns: i64) -> Option<Arc<Resource>> {
        let mut halves = self.halves.lock();
        let is_fresh = |resource: &&Arc<Resource>| now_ns - resource.decided_ns < KEPT_NS;
        if let Some(resource) = halves.young.get(&key).filter(is_fresh) {
            return Some(Arc::clone(resource));
        }
        let resource = halves.old.remove(&key).filter(|resource| is_fresh(&resource))?;
        halves.young_bytes += resource.n_bytes();
        halves.young.insert(key, Arc::clone(&resource));
        Some(resource)
    }

    fn insert(&self, resource: Arc<Resource>) -> Arc<Resource> {
        let mut halves = self.halves.lock();
        halves.young_bytes += resource.n_bytes();
        if halves.young.len() >= HALF_MAX || halves.young_bytes > HALF_BYTES_MAX {
            halves.old = std::mem::take(&mut halves.young);
            halves.young_bytes = resource.n_bytes();
        }
        halves.young.insert(resource.key, Arc::clone(&resource));
        resource
    }
}
