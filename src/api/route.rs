//! The table of routes: a path, its methods, and what its caller must be allowed to do.
//!
//! A handler can only be reached through this table, so no route is without a permission.

use axum::Router;
use axum::extract::Request;
use axum::handler::Handler;
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{MethodFilter, on};

use super::Api;
use super::error::{ApiError, Dialect};
use crate::base::Kind;
use crate::model::{Grant, ReadScope, Role, WriteScope};

/// What a caller must be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Nothing: liveness and readiness.
    Nothing,
    /// To have any known credential.
    Credential,
    /// To read metrics, alerts and status of some commons.
    Metrics,
    /// To read logs and traces as well, and ask SQL.
    Sql,
    /// To tell of alerts.
    Tell,
    /// To silence alerts.
    Operate,
    /// To change the server.
    Admin,
}

impl Need {
    /// Returns why a caller may not, or `Ok`.
    pub fn check(self, grant: Option<&Grant>) -> Result<(), ApiError> {
        if self == Need::Nothing {
            return Ok(());
        }
        let Some(grant) = grant else {
            // Only a server that was wired without `guard` comes here: refuse.
            return Err(ApiError::new(Kind::Unauthenticated, "a token is needed"));
        };
        let reads = grant.read != ReadScope::Nothing;
        let (is_met, wanted) = match self {
            Need::Nothing | Need::Credential => (true, ""),
            Need::Metrics => (reads, "one that reads: give it `read = [\"*\"]`"),
            Need::Sql => (
                reads && grant.role >= Role::Developer,
                "one with `role = \"developer\"`, or above",
            ),
            Need::Tell => (
                grant.write != WriteScope::Nothing,
                "one that writes: give it `write = \"any\"`, or the commons it speaks for",
            ),
            Need::Operate => {
                (reads && grant.role >= Role::Operator, "one with `role = \"operator\"`, or above")
            }
            Need::Admin => (reads && grant.role >= Role::Admin, "one with `role = \"admin\"`"),
        };
        if is_met {
            return Ok(());
        }
        let message = format!("the token `{}` may not do this: it needs {wanted}", grant.name);
        Err(ApiError::new(Kind::Forbidden, message))
    }
}

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) methods: &'static str,
    pub(super) path: &'static str,
    pub(super) need: Need,
}

/// The table while it is filled.
#[derive(Debug, Default)]
pub(super) struct Routes {
    router: Router<Api>,
    pub(super) list: Vec<Route>,
}

impl Routes {
    /// Adds a route that is asked by GET.
    pub(super) fn get<H, T>(&mut self, path: &'static str, need: Need, handler: H)
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        self.add("GET", MethodFilter::GET, path, need, handler);
    }

    /// Adds a route that is asked by POST.
    pub(super) fn post<H, T>(&mut self, path: &'static str, need: Need, handler: H)
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        self.add("POST", MethodFilter::POST, path, need, handler);
    }

    /// Adds a route that is asked by DELETE.
    pub(super) fn delete<H, T>(&mut self, path: &'static str, need: Need, handler: H)
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        self.add("DELETE", MethodFilter::DELETE, path, need, handler);
    }

    /// Adds a route that is asked by GET, or by POST with a form.
    pub(super) fn form<H, T>(&mut self, path: &'static str, need: Need, handler: H)
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        self.add("GET,POST", MethodFilter::GET.or(MethodFilter::POST), path, need, handler);
    }

    /// Adds a route that is asked by POST or PUT.
    pub(super) fn put<H, T>(&mut self, path: &'static str, need: Need, handler: H)
    where
        H: Handler<T, Api>,
        T: 'static,
    {
        self.add("POST,PUT", MethodFilter::POST.or(MethodFilter::PUT), path, need, handler);
    }

    fn add<H, T>(
        &mut self,
        methods: &'static str,
        filter: MethodFilter,
        path: &'static str,
        need: Need,
        handler: H,
    ) where
        H: Handler<T, Api>,
        T: 'static,
    {
        let check = from_fn(move |request: Request, next: Next| check(need, request, next));
        let route = on(filter, handler).layer(check);
        self.router = std::mem::take(&mut self.router).route(path, route);
        self.list.push(Route { methods, path, need });
    }

    pub(super) fn into_router(self) -> Router<Api> {
        self.router
    }
}

async fn check(need: Need, request: Request, next: Next) -> Response {
    match need.check(request.extensions().get::<Grant>()) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_dialect(Dialect::of(request.uri().path(), request.headers())),
    }
}
