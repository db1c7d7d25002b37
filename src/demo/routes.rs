//! What is asked of a commons: paths, how often, how long they take.
//!
//! Latencies are log-normal with the medians of real services; the shares make the usual mix.

/// What a request means beside being one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    /// Nothing special.
    Plain,
    /// A file that browsers keep.
    Static,
    /// Leaves for the identity provider; comes back as a callback.
    Login,
    /// Asks for a signed URL.
    SignedUrl,
    /// Makes a new token.
    Token,
    /// Writes records.
    Submission,
    /// Launches a workspace.
    Launch,
}

/// One route.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) service: &'static str,
    pub(super) verb: &'static str,
    /// `{guid}`, `{idp}`, `{program}` and `{project}` are filled in.
    pub(super) path: &'static str,
    pub(super) share: f64,
    pub(super) median_s: f64,
    pub(super) sigma: f64,
    pub(super) meaning: Meaning,
    /// Whether most who ask have logged in.
    pub(super) for_users: bool,
}

const fn route(
    service: &'static str,
    verb: &'static str,
    path: &'static str,
    share: f64,
    latency: (f64, f64),
    for_users: bool,
) -> Route {
    let (median_s, sigma) = latency;
    Route { service, verb, path, share, median_s, sigma, meaning: Meaning::Plain, for_users }
}

const fn meaning(route: Route, meaning: Meaning) -> Route {
    Route { meaning, ..route }
}

const STATIC_S: (f64, f64) = (0.02, 0.6);
const FENCE_S: (f64, f64) = (0.12, 0.7);
const SIGN_S: (f64, f64) = (0.18, 0.6);
const INDEXD_S: (f64, f64) = (0.04, 0.8);
const ARBORIST_S: (f64, f64) = (0.008, 0.6);
const GUPPY_S: (f64, f64) = (0.35, 1.1);
const SHEEPDOG_S: (f64, f64) = (0.9, 1.0);
const MDS_S: (f64, f64) = (0.07, 0.6);
const AGGREGATE_S: (f64, f64) = (0.8, 0.3);
const SMALL_S: (f64, f64) = (0.05, 0.6);

/// The login; its share is taken apart from the others, since a callback belongs to it.
pub(super) const LOGIN: Route = meaning(
    route("fence", "GET", "/user/login/{idp}?redirect=https://{host}/", 1.0, FENCE_S, false),
    Meaning::Login,
);

/// What a crawler asks for.
pub(super) const CRAWLED: Route =
    route("indexd", "GET", "/index/index/{guid}", 0.0, INDEXD_S, false);

/// Everything else.
pub(super) const ROUTES: [Route; 48] = [
    meaning(route("portal", "GET", "/", 6.0, STATIC_S, false), Meaning::Static),
    meaning(route("portal", "GET", "/explorer", 3.0, STATIC_S, true), Meaning::Static),
    meaning(route("portal", "GET", "/discovery", 2.0, STATIC_S, false), Meaning::Static),
    meaning(route("portal", "GET", "/bundle.js", 6.0, STATIC_S, false), Meaning::Static),
    meaning(route("portal", "GET", "/src/css/main.css", 4.0, STATIC_S, false), Meaning::Static),
    meaning(route("portal", "GET", "/favicon.ico", 3.0, STATIC_S, false), Meaning::Static),
    meaning(route("frontend-framework", "GET", "/", 5.0, STATIC_S, false), Meaning::Static),
    meaning(
        route("frontend-framework", "GET", "/discovery", 5.0, STATIC_S, false),
        Meaning::Static,
    ),
    meaning(
        route("frontend-framework", "GET", "/_next/static/app.js", 6.0, STATIC_S, false),
        Meaning::Static,
    ),
    route("fence", "GET", "/user/user", 6.0, FENCE_S, true),
    route("fence", "GET", "/user/.well-known/jwks", 2.0, FENCE_S, false),
    meaning(route("fence", "POST", "/user/oauth2/token", 3.0, FENCE_S, true), Meaning::Token),
    meaning(
        route("fence", "POST", "/user/credentials/api/access_token", 3.0, FENCE_S, true),
        Meaning::Token,
    ),
    route("fence", "GET", "/user/credentials/api", 0.5, FENCE_S, true),
    meaning(
        route(
            "presigned-url-fence",
            "GET",
            "/user/data/download/{guid}?protocol=s3",
            5.0,
            SIGN_S,
            true,
        ),
        Meaning::SignedUrl,
    ),
    meaning(
        route(
            "presigned-url-fence",
            "GET",
            "/ga4gh/drs/v1/objects/{guid}/access/s3",
            4.0,
            SIGN_S,
            true,
        ),
        Meaning::SignedUrl,
    ),
    meaning(route("fence", "POST", "/user/data/upload", 0.4, SIGN_S, true), Meaning::SignedUrl),
    route("arborist", "GET", "/authz/mapping", 1.5, ARBORIST_S, true),
    route("arborist", "GET", "/authz/resources", 0.5, ARBORIST_S, true),
    route("indexd", "GET", "/index/index/{guid}", 5.0, INDEXD_S, false),
    route("indexd", "GET", "/index/index?limit=100", 2.0, INDEXD_S, false),
    route("indexd", "POST", "/index/bulk/documents", 1.0, INDEXD_S, true),
    route("indexd", "GET", "/ga4gh/drs/v1/objects/{guid}", 3.0, INDEXD_S, false),
    route("indexd", "GET", "/index/_stats", 0.2, INDEXD_S, false),
    meaning(
        route("sheepdog", "PUT", "/api/v0/submission/{program}/{project}", 1.0, SHEEPDOG_S, true),
        Meaning::Submission,
    ),
    meaning(
        route("sheepdog", "POST", "/api/v0/submission/{program}/{project}", 0.5, SHEEPDOG_S, true),
        Meaning::Submission,
    ),
    route("sheepdog", "GET", "/api/v0/submission/_dictionary/_all", 1.0, SHEEPDOG_S, true),
    route("peregrine", "POST", "/api/v0/submission/graphql", 1.5, GUPPY_S, true),
    route("peregrine", "GET", "/api/v0/submission/getschema", 0.5, SMALL_S, true),
    route("guppy", "POST", "/guppy/graphql", 5.0, GUPPY_S, true),
    route("guppy", "POST", "/guppy/download", 0.5, GUPPY_S, true),
    route("guppy", "GET", "/guppy/_status", 0.5, SMALL_S, false),
    route("metadata", "GET", "/mds/metadata/{guid}", 2.0, MDS_S, false),
    route("metadata", "GET", "/mds/aggregate/metadata?limit=2000", 1.0, AGGREGATE_S, false),
    route("audit", "GET", "/audit/log/presigned_url", 0.1, SMALL_S, true),
    route("requestor", "GET", "/requestor/request/user", 0.3, SMALL_S, true),
    route("requestor", "POST", "/requestor/request", 0.05, SMALL_S, true),
    route("wts", "GET", "/wts/token/?idp=default", 0.6, FENCE_S, true),
    route("manifestservice", "GET", "/manifests/", 0.3, SMALL_S, true),
    meaning(
        route("hatchery", "POST", "/lw-workspace/launch?id=5f2", 0.1, (2.0, 0.4), true),
        Meaning::Launch,
    ),
    route("hatchery", "GET", "/lw-workspace/status", 1.0, SMALL_S, true),
    route("ambassador", "GET", "/lw-workspace/proxy/lab", 1.0, SMALL_S, true),
    route("sower", "GET", "/job/status", 0.5, SMALL_S, true),
    route("gen3-user-data-library", "GET", "/library/lists", 0.5, MDS_S, true),
    route("gen3-workflow", "POST", "/ga4gh/tes/v1/tasks", 0.3, MDS_S, true),
    route("dicom-server", "GET", "/dicom-server/studies", 1.5, (0.2, 0.7), true),
    route("ohif-viewer", "GET", "/ohif-viewer/", 1.0, STATIC_S, true),
    route("gen3-discovery-ai", "POST", "/ai/ask", 0.2, (1.5, 0.4), true),
];
