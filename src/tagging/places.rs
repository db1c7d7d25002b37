//! Where each commons lives: the operator's map from clusters, namespaces, hosts and projects.

use std::sync::Arc;

use hashbrown::HashMap;

use super::config::CommonsEntry;
use super::error::TaggingError;
use super::files::CommonsFile;
use super::hygiene::hides_mail;
use super::names::NameSet;
use crate::model::Commons;

/// One entry of the map.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) commons: Commons,
    pub(super) env: Option<Arc<str>>,
    pub(super) clusters: Vec<Arc<str>>,
    namespaces: Vec<Box<str>>,
    hosts: Vec<String>,
}

/// A namespace's cluster, or `None` for every cluster, and the place's index.
type Claim = (Option<Arc<str>>, usize);

/// The whole map, and what counts as "no value" in it.
#[derive(Debug)]
pub(super) struct Places {
    places: Vec<Place>,
    by_namespace: HashMap<Box<str>, Vec<Claim>>,
    by_host: HashMap<Box<str>, usize>,
    sole_of_cluster: HashMap<Box<str>, Sole>,
    sole_of_project: HashMap<Box<str>, Sole>,
    no_value: NameSet,
    no_commons: NameSet,
    machine_suffixes: Vec<String>,
}

/// The one commons of a cluster or project, or the fact that there are several.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Sole {
    One(Commons),
    Several,
}

impl Places {
    /// Compiles the entries of `commons.toml` and of `[[tagging.commons]]`.
    pub(super) fn new(file: &CommonsFile, inline: &[CommonsEntry]) -> Result<Self, TaggingError> {
        let mut places = Self {
            places: Vec::new(),
            by_namespace: HashMap::new(),
            by_host: HashMap::new(),
            sole_of_cluster: HashMap::new(),
            sole_of_project: HashMap::new(),
            no_value: NameSet::new(&file.no_value),
            no_commons: NameSet::new(&file.no_commons),
            machine_suffixes: file.machine_suffixes.clone(),
        };
        for entry in &file.commons {
            places.add(entry, "commons.toml")?;
        }
        for entry in inline {
            places.add(entry, "[[tagging.commons]]")?;
        }
        Ok(places)
    }

    fn add(&mut self, entry: &CommonsEntry, file: &str) -> Result<(), TaggingError> {
        let commons = Commons::new(&entry.name)
            .map_err(|source| TaggingError::CommonsName { file: file.to_owned(), source })?;
        let place = Place {
            commons: commons.clone(),
            env: entry.env.as_deref().map(Arc::from),
            clusters: entry.clusters.iter().map(|cluster| Arc::from(cluster.as_str())).collect(),
            namespaces: entry.namespaces.iter().map(|ns| Box::from(ns.as_str())).collect(),
            // Its name is its host; of several entries of one name, the first is the host's.
            hosts: entry.hostnames.iter().chain([&entry.name]).map(|h| host_key(h)).collect(),
        };
        let place_idx = self.places.len();
        self.add_namespaces(&place, place_idx)?;
        self.add_hosts(&place, place_idx)?;
        for cluster in &entry.clusters {
            add_sole(&mut self.sole_of_cluster, cluster, &commons);
        }
        if let Some(project) = &entry.project {
            add_sole(&mut self.sole_of_project, project, &commons);
        }
        self.places.push(place);
        Ok(())
    }

    fn add_namespaces(&mut self, place: &Place, place_idx: usize) -> Result<(), TaggingError> {
        let mut clusters: Vec<_> = place.clusters.iter().map(|c| Some(Arc::clone(c))).collect();
        if clusters.is_empty() {
            clusters.push(None);
        }
        for namespace in &place.namespaces {
            for cluster in &clusters {
                let claims = self.by_namespace.entry(namespace.clone()).or_default();
                let other = claims.iter().find(|(c, _)| c == cluster).map(|(_, idx)| *idx);
                if let Some(first) = other.map(|idx| &self.places[idx].commons) {
                    let cluster = cluster.as_deref().unwrap_or("*");
                    let what = format!("namespace {namespace} of cluster {cluster}");
                    return Err(twice(what, first, &place.commons));
                }
                claims.push((cluster.clone(), place_idx));
            }
        }
        Ok(())
    }

    fn add_hosts(&mut self, place: &Place, place_idx: usize) -> Result<(), TaggingError> {
        for host in &place.hosts {
            let idx = *self.by_host.entry(Box::from(host.as_str())).or_insert(place_idx);
            let first = self.places.get(idx).map_or(&place.commons, |known| &known.commons);
            if *first != place.commons {
                return Err(twice(format!("host {host}"), first, &place.commons));
            }
        }
        Ok(())
    }

    /// Returns `text` without its surrounding space, or `None` when it says nothing: empty, a word
    /// of `no_value`, a chart's template that was not rendered, or a person's mail address.
    pub(super) fn usable<'t>(&self, text: &'t str) -> Option<&'t str> {
        let text = text.trim();
        let unrendered = holds(text, b"{{") || holds(text, b".Values");
        let says_nothing = text.is_empty() || unrendered || self.no_value.contains(text);
        (!says_nothing && !hides_mail(text)).then_some(text)
    }

    /// Reads a commons' name or one of its hosts, as a sender wrote it.
    pub(super) fn commons_named(&self, text: &str) -> Option<Commons> {
        let host = host_key(self.usable(text)?);
        self.usable(&host)?;
        if let Some(place_idx) = self.by_host.get(host.as_str()) {
            return Some(self.places[*place_idx].commons.clone());
        }
        let is_machine = self.machine_suffixes.iter().any(|suffix| host.ends_with(suffix))
            || host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
        if is_machine || self.no_commons.contains(&host) {
            return None;
        }
        Commons::new(&host).ok()
    }

    /// Reads a host only if the map knows it: for names that are usually a machine's.
    pub(super) fn known_host(&self, text: &str) -> Option<Commons> {
        let host = host_key(self.usable(text)?);
        let by_host = self.by_host.get(host.as_str()).map(|idx| &self.places[*idx]);
        by_host.or_else(|| self.named(&host)).map(|place| place.commons.clone())
    }

    /// Returns the commons of a namespace of a cluster. Without a cluster only entries that name
    /// none count: a namespace alone is not a key.
    pub(super) fn at(&self, cluster: Option<&str>, namespace: &str) -> Option<&Place> {
        let claims = self.by_namespace.get(namespace)?;
        let of_cluster = claims.iter().find(|(c, _)| c.is_some() && c.as_deref() == cluster);
        let of_all = || claims.iter().find(|(c, _)| c.is_none());
        of_cluster.or_else(of_all).map(|(_, idx)| &self.places[*idx])
    }

    /// Returns the commons of a namespace that only one commons has, whatever the cluster.
    pub(super) fn only_at(&self, namespace: &str) -> Option<&Place> {
        let claims = self.by_namespace.get(namespace)?;
        let first = &self.places[claims.first()?.1];
        let same = claims.iter().all(|(_, idx)| self.places[*idx].commons == first.commons);
        same.then_some(first)
    }

    /// Returns the only commons configured for a cluster.
    pub(super) fn sole_of_cluster(&self, cluster: &str) -> Option<&Commons> {
        sole(&self.sole_of_cluster, cluster)
    }

    /// Returns the only commons configured for a project.
    pub(super) fn sole_of_project(&self, project: &str) -> Option<&Commons> {
        sole(&self.sole_of_project, project)
    }

    /// Returns true unless the map says that `commons` lives in other clusters only.
    pub(super) fn may_be_in(&self, commons: &Commons, cluster: &str) -> bool {
        let mut elsewhere = false;
        for place in self.places.iter().filter(|place| place.commons == *commons) {
            if place.clusters.is_empty() || place.clusters.iter().any(|c| **c == *cluster) {
                return true;
            }
            elsewhere = true;
        }
        !elsewhere
    }

    /// Returns the entry that fits a decided commons best: that of its place, else of the first
    /// host that has one, else its only one.
    pub(super) fn entry_of(
        &self,
        commons: &Commons,
        cluster: Option<&str>,
        namespace: Option<&str>,
        hosts: &[Option<&str>],
    ) -> Option<&Place> {
        let is_its = |place: &&Place| place.commons == *commons;
        let at = namespace.and_then(|namespace| self.at(cluster, namespace)).filter(is_its);
        let by_host = |host: &str| {
            self.by_host.get(&*host_key(host)).map(|idx| &self.places[*idx]).filter(is_its)
        };
        let only = || {
            let mut its = self.places.iter().filter(is_its);
            let first = its.next()?;
            its.next().is_none().then_some(first)
        };
        at.or_else(|| hosts.iter().flatten().find_map(|host| by_host(host))).or_else(only)
    }

    /// Returns the one cluster that the map gives to a commons.
    pub(super) fn cluster_of(&self, commons: &Commons) -> Option<&Arc<str>> {
        let mut clusters =
            self.places.iter().filter(|place| place.commons == *commons).flat_map(|p| &p.clusters);
        let first = clusters.next()?;
        clusters.all(|cluster| cluster == first).then_some(first)
    }

    fn named(&self, name: &str) -> Option<&Place> {
        self.places.iter().find(|place| place.commons.as_str() == name)
    }
}

fn twice(what: String, first: &Commons, second: &Commons) -> TaggingError {
    TaggingError::Twice { what, first: first.to_string(), second: second.to_string() }
}

fn add_sole(map: &mut HashMap<Box<str>, Sole>, key: &str, commons: &Commons) {
    let sole = map.entry(Box::from(key)).or_insert_with(|| Sole::One(commons.clone()));
    if *sole != Sole::One(commons.clone()) {
        *sole = Sole::Several;
    }
}

fn sole<'m>(map: &'m HashMap<Box<str>, Sole>, key: &str) -> Option<&'m Commons> {
    match map.get(key)? {
        Sole::One(commons) => Some(commons),
        Sole::Several => None,
    }
}

/// A plain walk: on texts this short the library's search costs more to prepare than to run.
fn holds(text: &str, part: &[u8]) -> bool {
    text.as_bytes().windows(part.len()).any(|window| window == part)
}

/// Lower case, no scheme, no port, no path, no final dot.
fn host_key(host: &str) -> String {
    let host = host.trim();
    let host = host.split_once("://").map_or(host, |(_, rest)| rest);
    let host = host.split('/').next().unwrap_or("");
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}
