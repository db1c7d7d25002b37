use std::path::{Path, PathBuf};

use super::*;

/// The certificates of the tests, with keys that only their owner may read.
struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/tls");
        for name in ["authority.pem", "server.pem", "server.key", "renewed.key"] {
            let copy = folder.path().join(name);
            std::fs::copy(cases.join(name), &copy).unwrap();
            set_mode(&copy, 0o600);
        }
        std::fs::write(folder.path().join("empty.pem"), "nothing\n").unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn load(&self, certificate: &str, key: &str, authority: &str) -> Result<bool, String> {
        let file = |name: &str| (!name.is_empty()).then(|| self.path(name));
        let config = Config {
            tls_cert_file: file(certificate),
            tls_key_file: file(key),
            tls_client_ca_file: file(authority),
            ..Config::default()
        };
        let folder = format!("{}/", self.0.path().display());
        let told = |mistake: TlsMistake| format!("{}: {}", mistake.key, mistake.message);
        Tls::load(&config).map(|tls| tls.is_some()).map_err(|mistakes| {
            let told: Vec<String> = mistakes.into_iter().map(told).collect();
            told.join("; ").replace(&folder, "")
        })
    }

    #[track_caller]
    fn check(&self, certificate: &str, key: &str, authority: &str, want: Result<bool, &str>) {
        let got = self.load(certificate, key, authority);
        assert_eq!(got, want.map_err(str::to_owned), "{certificate} {key} {authority}");
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_certificate_with_its_key_is_taken_and_without_files_there_is_no_tls() {
    let files = Files::new();

    files.check("", "", "", Ok(false));
    files.check("server.pem", "server.key", "", Ok(true));
    files.check("server.pem", "server.key", "authority.pem", Ok(true));
}

#[test]
fn what_is_missing_or_wrong_is_told_by_its_key() {
    let files = Files::new();
    let none = "has no certificate in it, or is not PEM";
    let no_key = "has no private key in it that can be read (PEM, not encrypted)";

    files.check(
        "server.pem",
        "",
        "",
        Err("tls_key_file: the certificate needs its key: a file of PEM"),
    );
    files.check(
        "",
        "server.key",
        "",
        Err("tls_cert_file: the key needs its certificate: a file of PEM"),
    );
    files.check(
        "",
        "",
        "authority.pem",
        Err("tls_cert_file: the key needs its certificate: a file of PEM"),
    );
    files.check(
        "server.pem",
        "renewed.key",
        "",
        Err("tls_key_file: the key is not that of server.tls_cert_file"),
    );
    files.check("server.key", "server.key", "", Err(&format!("tls_cert_file: server.key {none}")));
    files.check("server.pem", "server.pem", "", Err(&format!("tls_key_file: server.pem {no_key}")));
    files.check(
        "empty.pem",
        "server.key",
        "gone.pem",
        Err(&format!(
            "tls_cert_file: empty.pem {none}; tls_client_ca_file: cannot read gone.pem: No such \
             file or directory (os error 2)"
        )),
    );
}

#[test]
fn a_key_open_to_everyone_is_refused() {
    let files = Files::new();
    set_mode(&files.path("server.key"), 0o644);

    let told = files.load("server.pem", "server.key", "").unwrap_err();

    assert!(told.starts_with("tls_key_file: server.key is open to every user"), "{told}");
    assert!(told.contains("chmod 600"), "{told}");
}

#[test]
fn listeners_in_the_clear_are_those_that_others_reach_without_tls() {
    let files = Files::new();
    let far = |port| crate::server::ListenAddr::At(([192, 0, 2, 1], port).into());
    let mut config = Config {
        http: far(1),
        otlp_grpc: far(2),
        tls_listeners: vec![Listener::Http],
        ..Config::default()
    };
    assert_eq!(config.in_the_clear(), ["http", "otlp_grpc"]);

    config.tls_cert_file = Some(files.path("server.pem"));

    assert_eq!(config.in_the_clear(), ["otlp_grpc"], "otlp_http is on loopback");
}
