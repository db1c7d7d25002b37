//! Which commons: the ordered rules.
//!
//! The first rule whose answer the credential covers wins, and is kept as `Tags::rule`. A claim
//! that the credential does not cover is refused and counted, and the next rule is asked: a sender
//! cannot reach another commons by saying its name.

use crate::model::{Commons, Grant, WriteScope};

use super::data::Data;
use super::facts::Facts;
use super::learned::Learned;

/// The rules, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Rule {
    Credential,
    Tenant,
    Attribute,
    NamespaceMap,
    Hostname,
    Learned,
    WorkspaceNamespace,
    Faro,
    Upstream,
    Cluster,
    Project,
    Infra,
    Unassigned,
}

impl Rule {
    pub(super) const ALL: [Rule; 13] = [
        Rule::Credential,
        Rule::Tenant,
        Rule::Attribute,
        Rule::NamespaceMap,
        Rule::Hostname,
        Rule::Learned,
        Rule::WorkspaceNamespace,
        Rule::Faro,
        Rule::Upstream,
        Rule::Cluster,
        Rule::Project,
        Rule::Infra,
        Rule::Unassigned,
    ];

    /// Returns the text of `Tags::rule`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Rule::Credential => "credential",
            Rule::Tenant => "tenant",
            Rule::Attribute => "attribute",
            Rule::NamespaceMap => "namespace_map",
            Rule::Hostname => "hostname",
            Rule::Learned => "learned",
            Rule::WorkspaceNamespace => "workspace_namespace",
            Rule::Faro => "faro",
            Rule::Upstream => "upstream",
            Rule::Cluster => "cluster",
            Rule::Project => "project",
            Rule::Infra => "infra",
            Rule::Unassigned => "unassigned",
        }
    }
}

/// Everything a rule may look at.
#[derive(Debug)]
pub(super) struct Question<'a> {
    pub(super) data: &'a Data,
    pub(super) learned: &'a Learned,
    pub(super) grant: &'a Grant,
    pub(super) tenant: Option<&'a str>,
    pub(super) facts: &'a Facts<'a>,
    /// The credential's cluster, else the one that was sent.
    pub(super) cluster: Option<&'a str>,
}

/// The rules between the credential and the fallbacks.
type Ask = fn(&Question<'_>) -> Option<Commons>;
const ASKED: [(Rule, Ask); 10] = [
    (Rule::Tenant, tenant),
    (Rule::Attribute, attribute),
    (Rule::NamespaceMap, namespace_map),
    (Rule::Hostname, hostname),
    (Rule::Learned, learned),
    (Rule::WorkspaceNamespace, workspace_namespace),
    (Rule::Faro, faro),
    (Rule::Upstream, upstream),
    (Rule::Cluster, sole_of_cluster),
    (Rule::Project, sole_of_project),
];
/// The first of them are claims of the sender: naming another commons there is spoofing.
const N_CLAIMS: usize = 4;

/// The commons, the rule that said so, and the first rule whose claim was refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) commons: Commons,
    pub(super) rule: Rule,
    pub(super) refused: Option<Rule>,
}

/// Decides the commons.
pub(super) fn decide(question: &Question<'_>) -> Decided {
    if let WriteScope::Commons(own) = &question.grant.write {
        let refused = refused_claim(question, own);
        return Decided { commons: own.clone(), rule: Rule::Credential, refused };
    }
    let mut refused = None;
    for (rule, ask) in ASKED {
        let Some(commons) = ask(question) else { continue };
        if covers(question, &commons) {
            return Decided { commons, rule, refused };
        }
        refused = refused.or(Some(rule));
    }
    let may_write = question.grant.write != WriteScope::Nothing;
    if may_write && is_infra(question) {
        return Decided { commons: Commons::cluster(), rule: Rule::Infra, refused };
    }
    Decided { commons: Commons::unassigned(), rule: Rule::Unassigned, refused }
}

fn refused_claim(question: &Question<'_>, own: &Commons) -> Option<Rule> {
    ASKED[..N_CLAIMS]
        .iter()
        .find(|(_, ask)| ask(question).is_some_and(|claimed| claimed != *own))
        .map(|(rule, _)| *rule)
}

/// Returns true when the credential may write to `commons`. A cluster's credential without a list
/// covers what the map does not place in other clusters.
fn covers(question: &Question<'_>, commons: &Commons) -> bool {
    match &question.grant.write {
        WriteScope::Nothing => false,
        WriteScope::Any => true,
        WriteScope::Commons(own) => own == commons,
        WriteScope::Cluster { cluster, commons: listed } if listed.is_empty() => {
            question.data.places.may_be_in(commons, cluster)
        }
        WriteScope::Cluster { commons: listed, .. } => listed.contains(commons),
    }
}

fn tenant(question: &Question<'_>) -> Option<Commons> {
    question.data.places.commons_named(question.tenant?)
}

fn attribute(question: &Question<'_>) -> Option<Commons> {
    question.data.places.commons_named(question.facts.commons.as_deref()?)
}

fn namespace_map(question: &Question<'_>) -> Option<Commons> {
    let namespace = question.facts.object_namespace()?;
    let place = question.data.places.at(question.cluster, namespace)?;
    Some(place.commons.clone())
}

fn hostname(question: &Question<'_>) -> Option<Commons> {
    let places = &question.data.places;
    let by_label = question.facts.hostname.as_deref().and_then(|host| places.commons_named(host));
    by_label.or_else(|| places.known_host(question.facts.machine.as_deref()?))
}

fn learned(question: &Question<'_>) -> Option<Commons> {
    question.learned.get(question.cluster?, question.facts.object_namespace()?)
}

fn workspace_namespace(question: &Question<'_>) -> Option<Commons> {
    let namespace = question.data.workspace_of(question.facts.object_namespace()?)?;
    in_namespace(question, namespace)
}

/// What a browser says may be made up, so it can only name a commons that is known already, by the
/// map or from the hosts of its pods.
fn faro(question: &Question<'_>) -> Option<Commons> {
    let places = &question.data.places;
    let known = |host: &str| {
        let learned = || places.commons_named(host).filter(|named| question.learned.knows(named));
        places.known_host(host).or_else(learned)
    };
    question.facts.faro_environment.as_deref().and_then(known).or_else(|| {
        let namespace = places.usable(question.facts.faro_namespace.as_deref()?)?;
        in_namespace(question, namespace).or_else(|| places.known_host(namespace))
    })
}

fn upstream(question: &Question<'_>) -> Option<Commons> {
    in_namespace(question, upstream_namespace(question.facts.upstream.as_deref()?)?)
}

/// Places a namespace that was found inside something else: these senders often know no cluster.
fn in_namespace(question: &Question<'_>, namespace: &str) -> Option<Commons> {
    let places = &question.data.places;
    if let Some(place) = places.at(question.cluster, namespace) {
        return Some(place.commons.clone());
    }
    match question.cluster {
        Some(cluster) => question.learned.get(cluster, namespace),
        None => places.only_at(namespace).map(|place| place.commons.clone()),
    }
}

/// Returns `<ns>` of `http://<service>.<ns>.svc.cluster.local:80/…`.
fn upstream_namespace(upstream: &str) -> Option<&str> {
    let host = upstream.split_once("://").map_or(upstream, |(_, rest)| rest);
    let host = host.split(['/', ':']).next()?;
    let mut parts = host.split('.');
    let (_service, namespace, svc) = (parts.next()?, parts.next()?, parts.next()?);
    (svc == "svc").then_some(namespace)
}

fn sole_of_cluster(question: &Question<'_>) -> Option<Commons> {
    if let WriteScope::Cluster { commons, .. } = &question.grant.write
        && commons.len() == 1
    {
        return commons.first().cloned();
    }
    question.data.places.sole_of_cluster(question.cluster?).cloned()
}

fn sole_of_project(question: &Question<'_>) -> Option<Commons> {
    let places = &question.data.places;
    places.sole_of_project(places.usable(question.facts.project.as_deref()?)?).cloned()
}

fn is_infra(question: &Question<'_>) -> bool {
    let (data, facts) = (question.data, question.facts);
    match facts.object_namespace() {
        Some(namespace) => data.infra_namespaces.contains(namespace),
        None if question.cluster.is_none() => false,
        None => {
            let named = |text: Option<&str>, set: &super::names::NameSet| {
                text.is_some_and(|text| set.contains(text))
            };
            named(facts.metric.as_deref(), &data.infra_metrics)
                || named(facts.scrape_job.as_deref(), &data.infra_jobs)
        }
    }
}
