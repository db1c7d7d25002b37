//! Request paths: which backend answers, and under which route they are counted.

use std::sync::Arc;

use hashbrown::HashSet;

use super::files::{AccessKind, LoginStage, RoutesFile, Service};
use super::paths::{PathTable, Segments};

/// A route of the bounded set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The template, e.g. `/user/login/{idp}`.
    pub template: Arc<str>,
    /// Set when requests on it are part of a login.
    pub login: Option<LoginStage>,
    /// Set when requests on it reach data.
    pub access: Option<AccessKind>,
    /// Where `{idp}` stands among the segments.
    idp_idx: Option<usize>,
}

/// What is known of a request's path.
#[derive(Debug, Clone, Copy)]
pub struct RequestPath<'t, 'p> {
    /// The route, `None` when no template matches.
    pub route: Option<&'t Route>,
    /// The path's first segment, or empty.
    pub first_segment: &'p str,
    /// The identity provider, where the route has one.
    pub idp: Option<&'p str>,
    /// The backend that the path belongs to by its prefix.
    pub backend: Option<&'t Arc<str>>,
}

/// The tables of prefixes and templates.
#[derive(Debug)]
pub(super) struct Routes {
    backends: PathTable<Arc<str>>,
    templates: PathTable<Route>,
    catch_all_backends: HashSet<String>,
}

impl Routes {
    pub(super) fn new(services: &[Service], file: &RoutesFile) -> Self {
        let mut backends = PathTable::new();
        for service in services {
            for prefix in &service.prefixes {
                backends.add_prefix(prefix, Arc::from(service.app.as_str()));
            }
        }
        let mut templates = PathTable::new();
        for template in &file.plain {
            templates.add_template(template, route(template, None, None));
        }
        for entry in &file.route {
            let route = route(&entry.template, entry.login, entry.access);
            templates.add_template(&entry.template, route);
        }
        let catch_all_backends = file.catch_all_backends.iter().cloned().collect();
        Self { backends, templates, catch_all_backends }
    }

    /// Looks a request's path up; a query is ignored.
    pub(super) fn find<'p>(&self, path: &'p str) -> RequestPath<'_, 'p> {
        let segments = Segments::of(path);
        let route = self.templates.find(&segments);
        let idp_idx = route.and_then(|route| route.idp_idx);
        RequestPath {
            route,
            first_segment: segments.as_slice().first().copied().unwrap_or(""),
            idp: idp_idx.and_then(|idx| segments.as_slice().get(idx).copied()),
            backend: self.backends.find(&segments),
        }
    }

    /// Returns true for backends that answer whatever they are asked.
    pub(super) fn is_catch_all(&self, backend: &str) -> bool {
        self.catch_all_backends.contains(backend)
    }
}

fn route(template: &str, login: Option<LoginStage>, access: Option<AccessKind>) -> Route {
    let mut segments = template.split('/').filter(|segment| !segment.is_empty());
    let idp_idx = segments.position(|segment| segment == "{idp}");
    let template = Arc::from(template.replace("...}", "}"));
    Route { template, login, access, idp_idx }
}
