//! The requests that reach one commons: who asks what, and how it ends.
//!
//! A login is a story of its own: it starts, and only who got away to the identity provider comes
//! back. Whose login failed often tries again.

use chrono::{Datelike, Timelike};

use super::catalogue::Site;
use super::dice::Dice;
use super::people::{self, Visitor};
use super::routes::{CRAWLED, LOGIN, Meaning, ROUTES, Route};
use super::scenario::Scenario;
use super::text;
use super::trouble::Trouble;

/// How many requests a second a crawler sends, whatever the usual rate is.
const CRAWL_PER_S: f64 = 200.0;

/// What is wrong with a request, where its status does not tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// The keys of its identity provider cannot be fetched.
    KeysUnreachable,
    /// Elasticsearch did not answer.
    SearchDown,
    /// The workspace was accepted and does not start.
    LaunchFailed,
}

/// One request as the revproxy saw it.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) at_ns: i64,
    pub(super) namespace: &'static str,
    pub(super) service: &'static str,
    pub(super) verb: &'static str,
    pub(super) path: String,
    pub(super) meaning: Meaning,
    pub(super) status: u16,
    pub(super) duration_s: f64,
    pub(super) size_bytes: u64,
    pub(super) visitor: Visitor,
    /// The identity provider, when it is a callback.
    pub(super) callback_of: Option<&'static str>,
    pub(super) fault: Option<Fault>,
    pub(super) id: String,
}

/// Somebody who will come back from the identity provider, or try again.
#[derive(Debug)]
struct Pending {
    due_ns: i64,
    idp: &'static str,
    visitor: Visitor,
    is_retry: bool,
}

/// The requests of one site.
#[derive(Debug)]
pub(super) struct Traffic {
    site: &'static Site,
    /// Requests a second on an average day.
    rate: f64,
    owed: f64,
    pending: Vec<Pending>,
}

impl Traffic {
    pub(super) fn new(site: &'static Site, rate_factor: f64) -> Self {
        Self { site, rate: site.requests_per_s * rate_factor, owed: 0.0, pending: Vec::new() }
    }

    /// Returns the requests of a stretch of time, in order.
    pub(super) fn between(
        &mut self,
        (from_ms, to_ms): (i64, i64),
        trouble: &Trouble,
        dice: &mut Dice,
    ) -> Vec<Request> {
        let length_ms = u64::try_from(to_ms - from_ms).unwrap_or(0);
        self.owed += self.rate * curve(to_ms) * text::as_f64(length_ms) / 1e3;
        let mut requests = Vec::new();
        while self.owed >= dice.unit() {
            self.owed -= 1.0;
            let offset_ns = i64::try_from(dice.below(length_ms * 1_000_000)).unwrap_or(0);
            requests.push(self.next(from_ms * 1_000_000 + offset_ns, trouble, dice));
        }
        if trouble.is(Scenario::IndexCrawl) {
            self.crawl((from_ms, length_ms), trouble, dice, &mut requests);
        }
        requests.sort_by_key(|request| request.at_ns);
        requests.extend(self.due(to_ms * 1_000_000, trouble, dice));
        requests
    }

    /// Adds what a crawler asks of indexd.
    fn crawl(
        &self,
        (from_ms, length_ms): (i64, u64),
        trouble: &Trouble,
        dice: &mut Dice,
        requests: &mut Vec<Request>,
    ) {
        let mut owed = CRAWL_PER_S * text::as_f64(length_ms) / 1e3;
        while owed >= 1.0 {
            owed -= 1.0;
            let offset_ns = i64::try_from(dice.below(length_ms * 1_000_000)).unwrap_or(0);
            let (path, visitor) = (fill(CRAWLED.path, dice), people::crawler(dice));
            let at_ns = from_ms * 1_000_000 + offset_ns;
            requests.push(self.request(at_ns, &CRAWLED, path, visitor, trouble, dice));
        }
    }

    fn next(&mut self, at_ns: i64, trouble: &Trouble, dice: &mut Dice) -> Request {
        let visitor = people::visitor(dice);
        let logins = LOGIN.share * self.site.favour("login");
        let weight = |route: &Route| match self.site.runs(route.service) {
            true => route.share * self.site.favour(route.service),
            false => 0.0,
        };
        let all: f64 = ROUTES.iter().map(weight).sum::<f64>() + logins;
        if dice.chance(logins / all) {
            let idp = dice.weighted(self.site.idps, |(_, share)| *share).0;
            return self.start_login(at_ns, idp, visitor, trouble, dice);
        }
        let route = dice.weighted(&ROUTES, weight);
        let visitor = if route.for_users { visitor.logged_in(dice) } else { visitor };
        let path = fill(route.path, dice);
        self.request(at_ns, route, path, visitor, trouble, dice)
    }

    fn start_login(
        &mut self,
        at_ns: i64,
        idp: &'static str,
        visitor: Visitor,
        trouble: &Trouble,
        dice: &mut Dice,
    ) -> Request {
        let path = LOGIN.path.replace("{idp}", idp).replace("{host}", self.site.hostname);
        let request = self.request(at_ns, &LOGIN, path, visitor.clone(), trouble, dice);
        if request.status < 400 && dice.chance(0.9) {
            let away_ns = 4_000_000_000 + i64::try_from(dice.below(20_000_000_000)).unwrap_or(0);
            let due_ns = at_ns + away_ns;
            self.pending.push(Pending { due_ns, idp, visitor, is_retry: false });
        }
        request
    }

    /// Returns what people do who were away until now.
    fn due(&mut self, now_ns: i64, trouble: &Trouble, dice: &mut Dice) -> Vec<Request> {
        let (due, later) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending: &Pending| pending.due_ns < now_ns);
        self.pending = later;
        let mut requests = Vec::new();
        for Pending { due_ns, idp, visitor, is_retry } in due {
            requests.push(match is_retry {
                true => self.start_login(due_ns, idp, visitor, trouble, dice),
                false => self.come_back(due_ns, idp, visitor, trouble, dice),
            });
        }
        requests
    }

    fn come_back(
        &mut self,
        at_ns: i64,
        idp: &'static str,
        visitor: Visitor,
        trouble: &Trouble,
        dice: &mut Dice,
    ) -> Request {
        let last = if idp == "ras" { "callback" } else { "login" };
        let path = format!(
            "/user/login/{idp}/{last}?code={:016x}&state={:08x}",
            dice.bits(),
            dice.bits() >> 32
        );
        let visitor = visitor.logged_in(dice);
        let mut request = self.request(at_ns, &LOGIN, path, visitor.clone(), trouble, dice);
        request.callback_of = Some(idp);
        let fails = trouble.is(Scenario::RasOutage) && idp == "ras";
        if fails && dice.chance(0.5) {
            request.fault = Some(Fault::KeysUnreachable);
        }
        if request.status < 500 {
            request.status = if fails || dice.chance(0.03) { 400 } else { 302 };
        }
        if fails {
            request.duration_s = dice.log_normal(3.0, 0.3);
        }
        if request.status >= 400 && dice.chance(0.5) {
            let due_ns = at_ns + 20_000_000_000;
            self.pending.push(Pending { due_ns, idp, visitor, is_retry: true });
        }
        request
    }

    fn request(
        &self,
        at_ns: i64,
        route: &Route,
        path: String,
        visitor: Visitor,
        trouble: &Trouble,
        dice: &mut Dice,
    ) -> Request {
        let (status, duration_s) = outcome(route, visitor.user.is_some(), trouble, dice);
        // During a blue/green migration some of the traffic still goes the old way.
        let old_share = if trouble.is(Scenario::BlueGreen) { 0.5 } else { 0.15 };
        let namespace = match self.site.old_namespace {
            Some(old) if dice.chance(old_share) => old,
            _ => self.site.namespace,
        };
        Request {
            at_ns,
            namespace,
            service: route.service,
            verb: route.verb,
            path,
            meaning: route.meaning,
            status,
            duration_s,
            size_bytes: if status == 304 { 0 } else { 150 + dice.below(8_000) },
            visitor,
            callback_of: None,
            fault: fault(route, trouble, dice),
            id: dice.hex32(),
        }
    }
}

/// Returns what goes wrong with a request although it is answered well.
fn fault(route: &Route, trouble: &Trouble, dice: &mut Dice) -> Option<Fault> {
    if route.service == "guppy" && trouble.is(Scenario::SearchIll) {
        return dice.chance(0.2).then_some(Fault::SearchDown);
    }
    let is_launch = route.meaning == Meaning::Launch && trouble.is(Scenario::LaunchFailure);
    is_launch.then_some(Fault::LaunchFailed)
}

/// Returns how a request ends: its status and how long it takes.
fn outcome(route: &Route, is_known: bool, trouble: &Trouble, dice: &mut Dice) -> (u16, f64) {
    let is_fence = matches!(route.service, "fence" | "presigned-url-fence");
    let is_down = (trouble.is(Scenario::FenceDatabase) && is_fence)
        || (trouble.is(Scenario::StagingNoise) && route.service == "guppy");
    if is_down && dice.chance(0.9) {
        let status = if dice.chance(0.6) { 502 } else { 503 };
        return (status, dice.log_normal(1.5, 0.4));
    }
    // Programs send their token in a short header of its own; a browser sends it with everything.
    let by_browser = is_known && matches!(route.meaning, Meaning::Plain | Meaning::Static);
    if by_browser && trouble.is(Scenario::TokenGrowth) && dice.chance(0.4) {
        return (431, dice.log_normal(0.01, 0.3));
    }
    if route.meaning == Meaning::SignedUrl && trouble.is_access_lost() && dice.chance(0.6) {
        return (403, dice.log_normal(route.median_s, route.sigma));
    }
    let (median_s, sigma) = match route.service {
        "indexd" if trouble.is(Scenario::IndexCrawl) => (9.0, 0.5),
        "guppy" if trouble.is(Scenario::SearchIll) => (4.8, 0.2),
        _ => (route.median_s, route.sigma),
    };
    let cap_s = if route.service == "sheepdog" { 300.0 } else { 400.0 };
    (status(route, is_fence, dice), dice.log_normal(median_s, sigma).min(cap_s))
}

fn status(route: &Route, is_fence: bool, dice: &mut Dice) -> u16 {
    let roll = dice.unit();
    match route.meaning {
        Meaning::Login => 302,
        Meaning::Static if roll < 0.2 => 304,
        Meaning::Static if roll < 0.22 => 404,
        Meaning::Static => 200,
        Meaning::SignedUrl if roll < 0.04 => 403,
        Meaning::SignedUrl if roll < 0.06 => 404,
        Meaning::Submission if roll < 0.08 => 400,
        // fence's own faults would be pages; they are scenario A's.
        _ if roll < 0.000_5 && !is_fence => 500,
        _ if roll < 0.006 => 400,
        _ if roll < 0.04 => 401,
        _ if roll < 0.06 => 403,
        _ if roll < 0.08 => 404,
        _ => 200,
    }
}

/// Returns how busy a moment is: 1 on an average day, afternoons (UTC) more, weekends less.
fn curve(at_ms: i64) -> f64 {
    let at = text::utc(at_ms * 1_000_000);
    let hour = f64::from(at.hour()) + f64::from(at.minute()) / 60.0;
    let day = 1.0 + 0.3 * ((hour - 9.0) / 24.0 * std::f64::consts::TAU).sin();
    let is_weekend = at.weekday().number_from_monday() > 5;
    if is_weekend { day * 0.7 } else { day }
}

fn one(all: &[&'static str], dice: &mut Dice) -> &'static str {
    dice.one_of::<&'static str>(all)
}

fn fill(path: &str, dice: &mut Dice) -> String {
    const PROGRAMS: [&str; 3] = ["alpha", "beta", "open"];
    const PROJECTS: [&str; 4] = ["p01", "p02", "p03", "pilot"];
    let mut filled = path.to_owned();
    if filled.contains("{guid}") {
        filled = filled.replace("{guid}", &dice.guid());
    }
    if filled.contains("{program}") {
        filled = filled.replace("{program}", one(&PROGRAMS, dice));
        filled = filled.replace("{project}", one(&PROJECTS, dice));
    }
    filled
}
