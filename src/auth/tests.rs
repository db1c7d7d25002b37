use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use base64::Engine as _;
use http::{HeaderMap, HeaderValue, header};

use super::*;
use crate::base::ManualClock;
use crate::model::{Commons, Grant, ReadScope, Role, WriteScope};

const SECRET: &str = "obs_heart_0123456789abcdef";
const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));

fn config(toml: &str) -> Config {
    toml::from_str(toml).unwrap()
}

fn authenticator(toml: &str) -> (Authenticator, Arc<ManualClock>) {
    let clock = ManualClock::at_ms(0);
    let tokens = TokenTable::check(&config(toml)).unwrap();
    let shared: crate::base::clock::SharedClock = Arc::clone(&clock) as _;
    (Authenticator::new(tokens, shared, Metrics::default()), clock)
}

fn heart() -> Authenticator {
    authenticator(&format!("[[tokens]]\nname = 'a'\ntoken = '{SECRET}'\ncommons = 'heart'")).0
}

fn headers(authorization: &str) -> HeaderMap {
    let value = HeaderValue::from_str(authorization).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

fn basic(pair: &str) -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

#[track_caller]
fn check(authorization: &str, want: Result<&str, AuthError>) {
    let got = heart().authenticate(&headers(authorization), Some(ADDRESS));
    assert_eq!(got.map(|grant| grant.name.to_string()), want.map(str::to_owned), "{authorization}");
}

#[test]
fn bearer_and_basic_carry_the_token() {
    check(&format!("Bearer {SECRET}"), Ok("a"));
    check(&format!("bearer  {SECRET} "), Ok("a"));
    check(&basic(&format!("whoever:{SECRET}")), Ok("a"));
    check(&basic(&format!(":{SECRET}")), Ok("a"));
}

#[test]
fn what_is_not_the_token_is_refused() {
    check("Bearer obs_heart_0123456789abcdeX", Err(AuthError::Unknown));
    check(&format!("Bearer {SECRET}x"), Err(AuthError::Unknown));
    check("Bearer ", Err(AuthError::Malformed));
    check("Digest username=x", Err(AuthError::Malformed));
    check("Basic !!!", Err(AuthError::Malformed));
    check(&basic("no-colon"), Err(AuthError::Malformed));
    check(SECRET, Err(AuthError::Malformed));
}

#[test]
fn two_credentials_are_none() {
    let mut two = headers(&format!("Bearer {SECRET}"));
    two.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer other"));

    assert_eq!(heart().authenticate(&two, None).err(), Some(AuthError::Malformed));
}

#[test]
fn no_credential_is_refused_when_tokens_are_configured() {
    let got = heart().authenticate(&HeaderMap::new(), Some(ADDRESS));

    assert_eq!(got.err(), Some(AuthError::Missing));
}

#[test]
fn without_tokens_everything_is_open() {
    let (open, _) = authenticator("");

    let grant = open.authenticate(&HeaderMap::new(), Some(ADDRESS)).unwrap();

    assert_eq!((*grant).clone(), Grant::open());
}

#[test]
fn guesses_are_slowed_but_a_known_token_is_let_in() {
    let toml = format!("[[tokens]]\nname = 'a'\ntoken = '{SECRET}'\nwrite = 'any'");
    let (auth, clock) = authenticator(&toml);
    let guess = headers("Bearer guess");
    for _ in 0..20 {
        assert_eq!(auth.authenticate(&guess, Some(ADDRESS)).err(), Some(AuthError::Unknown));
    }

    let refused = auth.authenticate(&guess, Some(ADDRESS)).err();
    let let_in = auth.authenticate(&headers(&format!("Bearer {SECRET}")), Some(ADDRESS));
    let neighbour = auth.authenticate(&guess, Some(IpAddr::V4(Ipv4Addr::LOCALHOST))).err();
    clock.advance(Duration::from_secs(5));
    let later = auth.authenticate(&guess, Some(ADDRESS)).err();

    assert_eq!(refused, Some(AuthError::TooMany { retry_after_s: 5 }));
    assert!(let_in.is_ok());
    assert_eq!((neighbour, later), (Some(AuthError::Unknown), Some(AuthError::Unknown)));
}

#[test]
fn replaced_tokens_are_gone_at_once() {
    let auth = heart();

    let other = "[[tokens]]\nname = 'b'\ntoken = 'obs_lung_0123456789abcdef'\nwrite = 'any'";
    auth.replace(TokenTable::check(&config(other)).unwrap());

    let got = auth.authenticate(&headers(&format!("Bearer {SECRET}")), None);
    assert_eq!(got.err(), Some(AuthError::Unknown));
}

#[track_caller]
fn check_grant(keys: &str, write: WriteScope, read: ReadScope, role: Role) {
    let (auth, _) = authenticator(&format!("[[tokens]]\nname = 'a'\ntoken = '{SECRET}'\n{keys}"));
    let grant = auth.authenticate(&headers(&format!("Bearer {SECRET}")), None).unwrap();
    assert_eq!((&grant.write, &grant.read, grant.role), (&write, &read, role), "{keys}");
}

#[test]
fn bindings_become_grants() {
    let heart = Commons::new("heart").unwrap();
    let only_heart = ReadScope::Only([heart.clone()].into());
    let at_nowhere = |commons: &[Commons]| WriteScope::Cluster {
        cluster: Arc::from("east"),
        commons: commons.iter().cloned().collect(),
    };
    let nothing = ReadScope::Nothing;
    let viewer = Role::Viewer;

    check_grant("commons = 'heart'", WriteScope::Commons(heart.clone()), nothing.clone(), viewer);
    check_grant("cluster = 'east'", at_nowhere(&[]), nothing.clone(), viewer);
    check_grant(
        "cluster = 'east'\ncommons = ['heart']",
        at_nowhere(&[heart]),
        nothing.clone(),
        viewer,
    );
    check_grant("write = 'any'", WriteScope::Any, nothing, viewer);
    check_grant("read = ['*']", WriteScope::Nothing, ReadScope::All, viewer);
    check_grant(
        "role = 'developer'\nread = ['heart']",
        WriteScope::Nothing,
        only_heart,
        Role::Developer,
    );
}

#[test]
fn every_mistake_of_every_token_is_reported() {
    let toml = "[[tokens]]\nname = ''\ntoken = 'short'\nread = ['*']\n\
                [[tokens]]\nname = 'b'\ntoken_sha256 = 'zz'\nrole = 'viewer'";

    let mistakes = TokenTable::check(&config(toml)).unwrap_err();

    let places: Vec<_> = mistakes.iter().map(|m| (m.token_idx, m.key)).collect();
    assert_eq!(places, [(0, "name"), (0, "token"), (1, "token_sha256"), (1, "read")]);
}

#[test]
fn a_token_file_open_to_everyone_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, format!("{SECRET}\n")).unwrap();
    let toml = format!("[[tokens]]\nname = 'a'\ntoken_file = '{}'\nwrite = 'any'", path.display());

    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let open = TokenTable::check(&config(&toml)).unwrap_err();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let closed = TokenTable::check(&config(&toml)).unwrap();

    assert!(open[0].message.contains("chmod 600"), "{}", open[0].message);
    assert!(closed.find(SECRET.as_bytes()).is_some());
}

#[test]
fn a_shown_token_is_masked() {
    let shown = toml::to_string(&config(&format!("[[tokens]]\nname = 'a'\ntoken = '{SECRET}'")));

    let shown = shown.unwrap();
    assert!(shown.contains("<secret>") && !shown.contains(SECRET), "{shown}");
}
