//! Which service: the ordered rules, and whose workspace it must not say.

use std::sync::Arc;

use super::data::Data;
use super::facts::Facts;

/// The service of a resource, stream or series.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) service: Option<Arc<str>>,
    /// The service that a job works for.
    pub(super) owner: Option<String>,
    /// True for people's workspaces: names of pods and the like hold who they are.
    pub(super) is_workspace: bool,
}

/// Decides the service. Whatever rule fired, a service is not named after a person.
pub(super) fn decide(data: &Data, facts: &Facts<'_>) -> Decided {
    let decided = if is_workspace(data, facts) { None } else { Some(by_rules(data, facts)) };
    let names_nobody =
        |decided: &Decided| !decided.service.as_deref().is_some_and(super::hygiene::hides_mail);
    decided.filter(names_nobody).unwrap_or_else(|| Decided {
        service: Some(Arc::from("workspace")),
        owner: None,
        is_workspace: true,
    })
}

fn by_rules(data: &Data, facts: &Facts<'_>) -> Decided {
    if let Some(service) = own_name(data, facts) {
        return Decided { service: Some(service), ..Decided::default() };
    }
    if let Some(job) = job_of(data, facts) {
        let owner = data.jobs.owner_of(&job).map(str::to_owned);
        return Decided {
            service: Some(Arc::from(format!("job:{job}"))),
            owner,
            is_workspace: false,
        };
    }
    let service =
        if facts.is_kube_state() { object_name(data, facts) } else { pod_name(data, facts) };
    Decided { service, ..Decided::default() }
}

/// A workspace's pod and `app` are `hatchery-` and its owner's escaped mail address.
fn is_workspace(data: &Data, facts: &Facts<'_>) -> bool {
    let in_namespace = facts.object_namespace().is_some_and(|ns| data.workspace_of(ns).is_some());
    let named = |text: Option<&str>| {
        text.is_some_and(|name| name.starts_with("hatchery-") && data.names.known(name).is_none())
    };
    let by_pod = |text: Option<&str>| named(text) && text.is_some_and(super::hygiene::hides_mail);
    in_namespace || named(facts.app.as_deref()) || by_pod(facts.pod.as_deref())
}

/// What the application calls itself.
fn own_name(data: &Data, facts: &Facts<'_>) -> Option<Arc<str>> {
    let name = data.places.usable(facts.service_name.as_deref()?)?;
    if data.jobs.apps.contains(name) {
        return None; // Somebody took the pods' `app` for their service.
    }
    if let Some(known) = data.names.known(name) {
        return Some(known);
    }
    let name = name.to_ascii_lowercase();
    if data.names.is_no_service(&name) {
        return None;
    }
    Some(data.names.canonical(&name.replace('_', "-")))
}

/// The job, without `job:` and without the suffix of its run.
fn job_of(data: &Data, facts: &Facts<'_>) -> Option<String> {
    let app = facts.app.as_deref().filter(|_| !facts.is_kube_state());
    let is_job_app = app.is_some_and(|app| data.jobs.apps.contains(app));
    if let Some(app) = app.filter(|app| data.jobs.one_job_apps.contains(app)) {
        return Some(app.to_owned());
    }
    // Without one of the apps, only kube-state-metrics and OTLP name a job on purpose.
    if !is_job_app && app.is_some() {
        return None;
    }
    if let Some(cronjob) = facts.cronjob.as_deref() {
        return Some(run_stripped(cronjob, false).to_owned());
    }
    let by_letters = app.is_some_and(|app| data.jobs.letter_suffix_apps.contains(app));
    if let Some(job_name) = facts.job_name.as_deref() {
        return Some(run_stripped(job_name, by_letters).to_owned());
    }
    if !is_job_app {
        return None;
    }
    let by_pod = || facts.pod.as_deref().map(|pod| run_stripped(pod_stripped(pod), by_letters));
    let by_controller = facts.controller.as_deref().map(|name| run_stripped(name, by_letters));
    let name = by_controller.or_else(by_pod).or(facts.container.as_deref());
    name.or(app).map(str::to_owned)
}

/// Takes off a CronJob's minute stamp, a manual run's ending, or five random letters.
fn run_stripped(job: &str, by_letters: bool) -> &str {
    if let Some((name, _)) = job.split_once("-manual-") {
        return name;
    }
    match job.rsplit_once('-') {
        Some((name, end)) if end.len() >= 8 && end.bytes().all(|b| b.is_ascii_digit()) => name,
        Some((name, end)) if by_letters && is_random(end) => name,
        _ => job,
    }
}

/// Takes off what Kubernetes adds to a job's name for its pod.
fn pod_stripped(pod: &str) -> &str {
    match pod.rsplit_once('-') {
        Some((job, end)) if is_random(end) => job,
        _ => pod,
    }
}

fn is_random(text: &str) -> bool {
    text.len() == 5 && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

/// The name of the pod that sent it.
fn pod_name(data: &Data, facts: &Facts<'_>) -> Option<Arc<str>> {
    let text = |fact: &Option<std::borrow::Cow<'_, str>>| {
        let name = data.places.usable(fact.as_deref()?)?.to_owned();
        (!data.names.is_no_service(&name)).then_some(name)
    };
    let container = || text(&facts.container).map(|c| c.trim_end_matches("-init").to_owned());
    let deployment =
        || text(&facts.deployment).map(|d| d.trim_end_matches("-deployment").to_owned());
    let name = text(&facts.app)
        .or_else(|| text(&facts.app_name))
        .or_else(|| text(&facts.service))
        .or_else(container)
        .or_else(deployment);
    match name {
        Some(name) => Some(data.names.canonical(&name)),
        None => facts
            .pod
            .as_deref()
            .and_then(|pod| known_pod(data, pod))
            .or_else(|| data.names.known(facts.scrape_job.as_deref()?)),
    }
}

/// The name of the object that kube-state-metrics describes.
fn object_name(data: &Data, facts: &Facts<'_>) -> Option<Arc<str>> {
    if let Some(deployment) = facts.deployment.as_deref() {
        let short = deployment.trim_end_matches("-deployment");
        return Some(data.names.known(deployment).unwrap_or_else(|| data.names.canonical(short)));
    }
    let by_pod = || facts.pod.as_deref().and_then(|pod| known_pod(data, pod));
    let container = facts.container.as_deref().map(|c| c.trim_end_matches("-init"));
    by_pod().or_else(|| container.map(|container| data.names.canonical(container)))
}

/// The catalogue's service of a pod named `<deployment>-<hash>-<random>`.
fn known_pod(data: &Data, pod: &str) -> Option<Arc<str>> {
    let (replica_set, _random) = pod.rsplit_once('-')?;
    let (deployment, _hash) = replica_set.rsplit_once('-')?;
    data.names.known(deployment)
}
