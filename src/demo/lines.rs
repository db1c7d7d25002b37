//! What the services write about one request, each in its own format.
//!
//! One request is a line of the revproxy, one of the service's own nginx, and up to three more.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::dice::Dice;
use super::pods::Pods;
use super::routes::Meaning;
use super::text::{cdis, time};
use super::traffic::{Fault, Request};

/// Log lines by stream: ns since 1970 UTC and the text.
pub(super) type Streams = BTreeMap<Arc<str>, Vec<(i64, String)>>;

/// Writes what one site's services say.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub(super) pods: &'a Pods,
    pub(super) streams: &'a mut Streams,
}

impl Writer<'_> {
    /// Writes all lines about a request.
    pub(super) fn request(&mut self, request: &Request, dice: &mut Dice) {
        self.say(request, "revproxy", access_line(request), dice);
        if request.status == 502 || request.status == 503 {
            self.unreachable(request, dice);
            return;
        }
        match request.service {
            "portal" | "frontend-framework" => self.portal(request, dice),
            "fence" | "presigned-url-fence" => self.fence(request, dice),
            "arborist" => self.arborist(request, dice),
            "guppy" => self.guppy(request, dice),
            "hatchery" => self.hatchery(request, dice),
            "metadata" | "gen3-user-data-library" | "gen3-workflow" | "gen3-discovery-ai" => {
                self.uvicorn(request, dice);
            }
            "indexd" | "sheepdog" | "peregrine" | "audit" | "requestor" | "wts"
            | "manifestservice" => self.say(request, request.service, combined(request), dice),
            "sower" => {
                let line = format!(
                    " INFO[{:04}] {} {}",
                    request.at_ns / 1_000_000_000 % 10_000,
                    request.verb,
                    request.path
                );
                self.say(request, "sower", line, dice);
            }
            _ => {}
        }
        if request.visitor.user.is_some() && request.service != "arborist" && dice.chance(0.3) {
            self.arborist(request, dice);
        }
    }

    fn say(&mut self, request: &Request, service: &str, line: String, dice: &mut Dice) {
        let Some(pod) = self.pods.of(request.namespace, service, dice.bits()) else { return };
        let at_ns = request.at_ns + i64::try_from(dice.below(900_000)).unwrap_or(0);
        self.streams.entry(Arc::clone(&pod.stream)).or_default().push((at_ns, line));
    }

    fn unreachable(&mut self, request: &Request, dice: &mut Dice) {
        if !dice.chance(0.2) {
            return;
        }
        let at = request.at_ns;
        let line = match request.service {
            "guppy" => search_down(request),
            _ => cdis(
                at,
                "fence",
                "ERROR",
                "(psycopg2.OperationalError) FATAL: remaining connection slots are reserved for non-replication superuser connections",
            ),
        };
        self.say(request, request.service, line, dice);
    }

    fn portal(&mut self, request: &Request, dice: &mut Dice) {
        // The same format, but the time is a text and nobody says who answered.
        let line = format!(
            r#"{{"gen3log": "nginx", "date_access": "{}", "user_id": "{}", "request_id": "{}", "network_client_ip": "10.0.3.{}", "network_bytes_write": {}, "http_response_time": "{:.3}", "http_status_code": {}, "http_request": "{}", "http_verb": "{}", "http_referer": "-", "http_useragent": "{}", "message": "{} {} HTTP/1.1"}}"#,
            time(request.at_ns, "%Y-%m-%dT%H:%M:%S+00:00"),
            request.visitor.user_id(),
            request.id,
            dice.below(250),
            request.size_bytes,
            request.duration_s,
            request.status,
            request.path,
            request.verb,
            request.visitor.agent,
            request.verb,
            request.path
        );
        self.say(request, request.service, line, dice);
    }

    fn fence(&mut self, request: &Request, dice: &mut Dice) {
        self.say(request, request.service, combined(request), dice);
        let at = request.at_ns;
        let user = request.visitor.user.unwrap_or(0);
        let line = match (request.meaning, request.callback_of) {
            (Meaning::SignedUrl, _) if request.status == 200 => cdis(
                at,
                "fence",
                "INFO",
                &format!(
                    "Signed URL Generated. action=download size_in_kibibytes={}.0 acl=[] authz=['/programs/alpha'] bucket=s3://demo-bucket user_sub={user} client_id=Unknown Client",
                    dice.below(900_000)
                ),
            ),
            (_, Some(idp)) if request.fault == Some(Fault::KeysUnreachable) => cdis(
                at,
                "fence",
                "ERROR",
                &format!("Can not retrieve jwt keys from IdP's API: {idp} did not answer in 5 s"),
            ),
            (_, Some(idp)) if request.status >= 400 => cdis(
                at,
                "fence",
                "ERROR",
                &format!("Can't get user info from {idp}: the provider did not answer as expected"),
            ),
            (_, Some(idp)) => {
                cdis(at, "fence", "INFO", &format!("User {user} logged in with IDP {idp}"))
            }
            _ if request.status >= 400 => {
                cdis(at, "fence", "WARNING", &format!("{} HTTP error occurred", request.status))
            }
            _ => return,
        };
        self.say(request, request.service, line, dice);
    }

    fn arborist(&mut self, request: &Request, dice: &mut Dice) {
        let at = request.at_ns;
        let path = if request.service == "arborist" { "/auth/mapping" } else { "/auth/request" };
        let line = format!(
            r#"10.0.2.{} - - [{}] "POST {path} HTTP/1.1" {} {} "" "python-httpx/0.27.0""#,
            dice.below(250),
            time(at, "%d/%b/%Y:%H:%M:%S +0000"),
            if request.status == 403 { 403 } else { 200 },
            dice.below(900)
        );
        self.say(request, "arborist", line, dice);
        if request.status == 403 {
            let line = format!(
                "{} auth.go:221: INFO: request is not authorized",
                time(at, "%Y/%m/%d %H:%M:%S")
            );
            self.say(request, "arborist", line, dice);
        }
    }

    fn guppy(&mut self, request: &Request, dice: &mut Dice) {
        if request.fault == Some(Fault::SearchDown) {
            self.say(request, "guppy", search_down(request), dice);
        }
        let (clock, ms) = (time(request.at_ns, "%H:%M:%S"), request.duration_s * 900.0);
        let index = dice.one_of(&["subject_idx subject", "file_idx file"]);
        let line = format!(
            "[{clock}] INFO: [ES.query] DurationInMS:{ms:.0}. index, type, query body:  {index} {{\"size\":20}}"
        );
        self.say(request, "guppy", line, dice);
    }

    fn hatchery(&mut self, request: &Request, dice: &mut Dice) {
        let user = request.visitor.user.unwrap_or(1);
        let at = time(request.at_ns, "%Y/%m/%d %H:%M:%S");
        let line = match request.meaning {
            Meaning::Launch if request.fault == Some(Fault::LaunchFailed) => format!(
                "{at} Failed to launch ECS workspace service for user researcher{user:03}@people.example: AccessDeniedException: not authorized to perform sts:AssumeRole"
            ),
            // Paid for by the user: into the cloud's own container service.
            Meaning::Launch if user.is_multiple_of(4) => format!(
                "{at} Launched ECS workspace service at lb-{user:03}.cloud.example for user researcher{user:03}@people.example"
            ),
            Meaning::Launch => format!(
                "{at} Launched pod hatchery-researcher{user:03}-40people-2eexample for user researcher{user:03}@people.example. Image: quay.io/demo/jupyter:1.4, CPU 1.0, Memory 2Gi"
            ),
            _ => format!(
                "{at} Status of the workspace of user researcher{user:03}@people.example: Running"
            ),
        };
        self.say(request, "hatchery", line, dice);
    }

    fn uvicorn(&mut self, request: &Request, dice: &mut Dice) {
        let message = format!(
            "10.0.1.2:{} - \"{} {} HTTP/1.1\" {}",
            30_000 + dice.below(9_999),
            request.verb,
            request.path,
            request.status
        );
        let line = cdis(request.at_ns, "uvicorn.access", "INFO", &message);
        self.say(request, request.service, line, dice);
    }
}

/// guppy's complaint about Elasticsearch.
fn search_down(request: &Request) -> String {
    format!(
        "[{}] ERROR: [ES] elasticsearch cluster at gen3-elasticsearch-master:9200 is down!",
        time(request.at_ns, "%H:%M:%S")
    )
}

/// The line of the revproxy.
fn access_line(request: &Request) -> String {
    format!(
        r#"{{"gen3log": "nginx", "date_access": "{}", "user_id": "{}", "request_id": "{}", "session_id": "{:016x}", "visitor_id": "{:016x}", "network_client_ip": "{}", "network_bytes_write": {}, "response_secs": {:.3}, "http_status_code": {}, "http_request": "{}", "http_verb": "{}", "http_referer": "-", "http_useragent": "{}", "http_upstream": "http://{}.{}.svc.cluster.local", "proxy_service": "{}", "message": "{} {} HTTP/1.1"}}"#,
        time(request.at_ns, "%Y-%m-%dT%H:%M:%S+00:00"),
        request.visitor.user_id(),
        request.id,
        request.visitor.session,
        request.visitor.session.rotate_left(32),
        request.visitor.address,
        request.size_bytes,
        request.duration_s,
        request.status,
        request.path,
        request.verb,
        request.visitor.agent,
        k8s_service(request.service),
        request.namespace,
        proxy_service(request.service),
        request.verb,
        request.path
    )
}

/// The line of a Python service's own nginx; it knows no duration.
fn combined(request: &Request) -> String {
    format!(
        r#"10.0.3.7 - - [{}] "{} {} HTTP/1.1" {} {} "-" "{}" "{}""#,
        time(request.at_ns, "%d/%b/%Y:%H:%M:%S +0000"),
        request.verb,
        request.path,
        request.status,
        request.size_bytes,
        request.visitor.agent,
        request.visitor.address
    )
}

fn k8s_service(service: &str) -> String {
    match service {
        "wts" => "workspace-token-service".to_owned(),
        other => format!("{other}-service"),
    }
}

/// What the revproxy's configuration calls a service; sheepdog's location sets nothing.
fn proxy_service(service: &'static str) -> &'static str {
    match service {
        "sheepdog" => "noproxy",
        "metadata" => "metadata-service",
        "audit" => "audit-service",
        "requestor" => "requestor-service",
        "gen3-user-data-library" => "gen3-user-data-library-service",
        other => other,
    }
}
