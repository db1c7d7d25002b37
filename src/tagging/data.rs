//! The data files, compiled for lookups.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};

use super::config::Config;
use super::error::TaggingError;
use super::files::{AliasesFile, Files, JobMarker, JobsFile, Service};
use super::hygiene::Hygiene;
use super::lines::LineRules;
use super::names::NameSet;
use super::places::Places;
use super::routes::Routes;
use super::scrub::Scrubber;

/// Everything the rules know.
#[derive(Debug)]
pub(super) struct Data {
    pub(super) services: Vec<Service>,
    pub(super) names: ServiceNames,
    pub(super) jobs: Jobs,
    pub(super) routes: Routes,
    pub(super) places: Places,
    pub(super) envs: Envs,
    pub(super) infra_namespaces: NameSet,
    pub(super) infra_metrics: NameSet,
    pub(super) infra_jobs: NameSet,
    pub(super) hygiene: Hygiene,
    pub(super) scrubber: Scrubber,
    pub(super) lines: LineRules,
    workspace_prefix: String,
}

impl Data {
    /// Reads and compiles the files.
    pub(super) fn load(config: &Config) -> Result<Self, TaggingError> {
        let files = Files::load(config.dir.as_deref())?;
        let names = ServiceNames::new(&files.services.service, &files.aliases);
        Ok(Self {
            routes: Routes::new(&files.services.service, &files.routes),
            jobs: Jobs::new(&files.jobs),
            places: Places::new(&files.commons, &config.commons)?,
            envs: Envs {
                patterns: files
                    .commons
                    .env
                    .into_iter()
                    .map(|p| (p.contains, Arc::from(p.env)))
                    .collect(),
                aliases: arcs(files.commons.env_aliases),
            },
            infra_namespaces: NameSet::new(&files.namespaces.infra),
            infra_metrics: NameSet::new(&files.namespaces.infra_metrics),
            infra_jobs: NameSet::new(&files.namespaces.infra_jobs),
            scrubber: Scrubber::new(&files.hygiene),
            lines: LineRules::new(&files.lines)?,
            hygiene: Hygiene::new(files.hygiene, &config.pseudonym_key),
            workspace_prefix: files.namespaces.workspace_prefix,
            services: files.services.service,
            names,
        })
    }

    /// Returns `<ns>` when `namespace` is where the workspaces of `<ns>` run.
    pub(super) fn workspace_of<'n>(&self, namespace: &'n str) -> Option<&'n str> {
        match namespace.strip_prefix(&*self.workspace_prefix)? {
            // The chart leaves the suffix out when it is installed in `default`.
            "" => Some("default"),
            rest => rest.strip_prefix('-'),
        }
    }
}

fn arcs(map: impl IntoIterator<Item = (String, String)>) -> HashMap<Box<str>, Arc<str>> {
    map.into_iter().map(|(name, value)| (name.into_boxed_str(), Arc::from(value))).collect()
}

/// Every name of every service, and what it is called here.
#[derive(Debug)]
pub(super) struct ServiceNames {
    canonical: HashMap<Box<str>, Arc<str>>,
    no_service: HashSet<String>,
    no_service_prefixes: Vec<String>,
}

impl ServiceNames {
    fn new(services: &[Service], file: &AliasesFile) -> Self {
        let mut canonical = HashMap::new();
        for service in services {
            let name: Arc<str> = Arc::from(service.app.as_str());
            let others = [&service.k8s_service, &service.deployment];
            for other in others.into_iter().flatten().chain([&service.app]) {
                canonical.insert(Box::from(other.as_str()), Arc::clone(&name));
            }
        }
        canonical.extend(arcs(file.aliases.clone()));
        Self {
            canonical,
            no_service: file.no_service.names.iter().cloned().collect(),
            no_service_prefixes: file.no_service.prefixes.clone(),
        }
    }

    /// Returns the canonical name of a service of the catalogue.
    pub(super) fn known(&self, name: &str) -> Option<Arc<str>> {
        self.canonical.get(name).cloned()
    }

    /// Returns the canonical name, or the name itself when nothing is known of it.
    pub(super) fn canonical(&self, name: &str) -> Arc<str> {
        self.known(name).unwrap_or_else(|| Arc::from(name))
    }

    /// Returns true for texts that name no service.
    pub(super) fn is_no_service(&self, name: &str) -> bool {
        self.no_service.contains(name)
            || self.no_service_prefixes.iter().any(|prefix| name.starts_with(&**prefix))
    }
}

/// What is known of jobs.
#[derive(Debug)]
pub(super) struct Jobs {
    pub(super) apps: NameSet,
    pub(super) letter_suffix_apps: NameSet,
    pub(super) one_job_apps: NameSet,
    pub(super) markers: Vec<JobMarker>,
    owners: HashMap<String, String>,
    owner_prefixes: Vec<(String, String)>,
}

impl Jobs {
    fn new(file: &JobsFile) -> Self {
        let mut owners = HashMap::new();
        let mut owner_prefixes = Vec::new();
        for (job, owner) in &file.owners {
            match job.strip_suffix('*') {
                Some(prefix) => owner_prefixes.push((prefix.to_owned(), owner.clone())),
                None => drop(owners.insert(job.clone(), owner.clone())),
            }
        }
        Self {
            apps: NameSet::new(&file.apps),
            letter_suffix_apps: NameSet::new(&file.letter_suffix_apps),
            one_job_apps: NameSet::new(&file.one_job_apps),
            markers: file.marker.clone(),
            owners,
            owner_prefixes,
        }
    }

    /// Returns the service a job works for.
    pub(super) fn owner_of(&self, job: &str) -> Option<&str> {
        let by_prefix =
            || self.owner_prefixes.iter().find(|(prefix, _)| job.starts_with(&**prefix));
        let owner = self.owners.get(job).or_else(|| by_prefix().map(|(_, owner)| owner));
        owner.map(String::as_str)
    }
}

/// What environments are called.
#[derive(Debug)]
pub(super) struct Envs {
    patterns: Vec<(String, Arc<str>)>,
    aliases: HashMap<Box<str>, Arc<str>>,
}

impl Envs {
    /// Returns the usual word for an environment, or the word itself.
    pub(super) fn canonical(&self, env: &str) -> Arc<str> {
        self.aliases.get(env).cloned().unwrap_or_else(|| Arc::from(env))
    }

    /// Guesses from the name of a namespace or cluster.
    pub(super) fn guess(&self, name: &str) -> Option<Arc<str>> {
        let found = self.patterns.iter().find(|(part, _)| name.contains(&**part));
        found.map(|(_, env)| Arc::clone(env))
    }
}
