//! A relay of our own on loopback, that answers as a test says and writes down what it hears.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::*;
use crate::base::tasks::spawn_detached;
use crate::notify::tls::{Said, Tls};

/// How the relay behaves.
#[derive(Debug, Clone, Copy, Default)]
struct Manners {
    offers_tls: bool,
    is_implicit: bool,
    wants_login: bool,
    /// The answer to a command that begins with these words.
    answers: Option<(&'static str, &'static str)>,
    /// What is said in the clear right behind the consent to TLS.
    smuggles: bool,
}

fn case(name: &str) -> String {
    format!("{}/tests/cases/tls/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn acceptor() -> TlsAcceptor {
    let chain = vec![CertificateDer::from_pem_file(case("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(case("server.key")).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

type Heard = Arc<Mutex<Vec<String>>>;

/// Speaks with one client until it leaves; returns the stream when TLS is to begin.
async fn speak<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    manners: Manners,
    heard: &Heard,
    is_safe: bool,
) -> Option<S> {
    let mut stream = BufReader::new(stream);
    if !is_safe || manners.is_implicit {
        stream.write_all(b"220 relay\r\n").await.ok()?;
    }
    let (mut is_data, mut n_words) = (false, 0);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end_matches(['\r', '\n']).to_owned();
        heard.lock().push(line.clone());
        let answer = match line.as_str() {
            _ if manners.answers.is_some_and(|(words, _)| !is_data && line.starts_with(words)) => {
                manners.answers.unwrap_or_default().1
            }
            "." if is_data => {
                is_data = false;
                "250 taken"
            }
            _ if is_data => continue,
            line if line.starts_with("EHLO") => {
                match (manners.offers_tls && !is_safe, manners.wants_login) {
                    (true, _) => "250-relay\r\n250 STARTTLS",
                    (false, true) => "250-relay\r\n250 AUTH LOGIN PLAIN",
                    (false, false) => "250 relay",
                }
            }
            "STARTTLS" => {
                let smuggled = if manners.smuggles { "250 AUTH PLAIN\r\n" } else { "" };
                stream.write_all(format!("220 go\r\n{smuggled}").as_bytes()).await.ok()?;
                return Some(stream.into_inner());
            }
            line if line.starts_with("AUTH PLAIN") => "235 welcome",
            "DATA" => {
                is_data = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => "250 fine",
        };
        n_words += 1;
        assert!(n_words < 100, "the dialog has an end");
        stream.write_all(format!("{answer}\r\n").as_bytes()).await.ok()?;
    }
}

async fn relay(manners: Manners) -> (u16, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Heard::default();
    let shared = Arc::clone(&heard);
    spawn_detached(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let heard = Arc::clone(&shared);
            let stream: Option<TcpStream> = match manners.is_implicit {
                true => Some(stream),
                false => speak(stream, manners, &heard, false).await,
            };
            if let Some(stream) = stream
                && let Ok(stream) = acceptor().accept(stream).await
            {
                heard.lock().push("(TLS)".to_owned());
                speak(stream, manners, &heard, true).await;
            }
        }
    });
    (port, heard)
}

fn relay_at(port: u16, manners: Manners) -> Relay {
    let authority = std::fs::read_to_string(case("authority.pem")).unwrap();
    Relay {
        host: "127.0.0.1".to_owned(),
        port,
        hello: "watch.example".to_owned(),
        login: manners.wants_login.then(|| Login {
            identity: String::new(),
            user: "watch".to_owned(),
            password: SecretText::new("hunter2"),
        }),
        needs_tls: manners.offers_tls,
        is_implicit: manners.is_implicit,
        tls: Tls::new(Said {
            authority: Some(authority),
            server_name: Some("localhost".to_owned()),
            own: None,
        })
        .unwrap(),
    }
}

fn letter() -> Letter {
    let texts = Texts {
        from: "watch@csoc.example".to_owned(),
        to: "a@heart.example, b@heart.example".to_owned(),
        headers: vec![("Subject".to_owned(), "down".to_owned())],
        html: String::new(),
        text: "down".to_owned(),
    };
    compose(&texts, ("id", "thread"), 0).unwrap()
}

async fn sent(manners: Manners) -> (Outcome, Vec<String>) {
    let (port, heard) = relay(manners).await;
    let policy = &AddressPolicy { allow_private: true, targets: Arc::default() };
    let outcome = send(policy, &relay_at(port, manners), &letter()).await;
    let heard = heard.lock().clone();
    (outcome, heard)
}

#[tokio::test]
async fn a_message_is_handed_over_and_the_password_only_over_tls() {
    let manners = Manners { offers_tls: true, wants_login: true, ..Manners::default() };
    let (outcome, heard) = sent(manners).await;

    assert_eq!(outcome, Outcome::Delivered { status: 250 });
    let place = |words: &str| heard.iter().position(|line| line.starts_with(words)).unwrap();
    assert!(
        place("STARTTLS") < place("(TLS)") && place("(TLS)") < place("AUTH PLAIN"),
        "{heard:?}"
    );
    let plain = format!("AUTH PLAIN {}", {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode("\0watch\0hunter2")
    });
    assert!(heard.contains(&plain), "{heard:?}");
    assert!(heard.contains(&"MAIL FROM:<watch@csoc.example>".to_owned()));
    assert!(heard.contains(&"RCPT TO:<b@heart.example>".to_owned()));
    assert!(heard.contains(&"Subject: down".to_owned()) && heard.contains(&".".to_owned()));
}

#[tokio::test]
async fn tls_from_the_first_byte_on_works_as_well() {
    let manners = Manners { is_implicit: true, ..Manners::default() };
    let (outcome, heard) = sent(manners).await;

    assert_eq!((outcome, heard[0].as_str()), (Outcome::Delivered { status: 250 }, "(TLS)"));
}

#[tokio::test]
async fn without_tls_no_password_and_by_default_no_message() {
    let (port, heard) = relay(Manners::default()).await;
    let policy = &AddressPolicy { allow_private: true, targets: Arc::default() };
    let mut relay = relay_at(port, Manners::default());
    relay.needs_tls = true;
    let refused = send(policy, &relay, &letter()).await;
    relay.needs_tls = false;
    let sent = send(policy, &relay, &letter()).await;
    relay.login = relay_at(port, Manners { wants_login: true, ..Manners::default() }).login;
    let secret = send(policy, &relay, &letter()).await;

    let reason = |outcome: &Outcome| match outcome {
        Outcome::Failed { reason, .. } => reason.clone(),
        other => panic!("{other:?}"),
    };
    assert!(reason(&refused).contains("does not offer STARTTLS"), "{refused:?}");
    assert_eq!(sent, Outcome::Delivered { status: 250 });
    assert!(reason(&secret).contains("not sent in the clear"), "{secret:?}");
    assert!(!heard.lock().iter().any(|line| line.starts_with("AUTH")));
}

#[tokio::test]
async fn what_a_relay_refuses_is_refused_and_what_it_defers_comes_again() {
    let with = |answer| Manners { answers: Some(("RCPT", answer)), ..Manners::default() };

    let (refused, _) = sent(with("550 no such user")).await;
    let (deferred, _) = sent(with("450 greylisted")).await;
    let (nonsense, _) = sent(with("hello")).await;

    assert_eq!(refused, Outcome::Refused { status: 550 });
    assert!(
        matches!(&deferred, Outcome::Failed { status: Some(450), reason, .. }
        if !reason.contains("greylisted")),
        "{deferred:?}"
    );
    assert!(matches!(nonsense, Outcome::Failed { status: None, .. }), "{nonsense:?}");
    let wrong = Manners {
        answers: Some(("AUTH", "535 no")),
        offers_tls: true,
        wants_login: true,
        ..Manners::default()
    };
    let (wrong, _) = sent(wrong).await;
    assert!(
        matches!(wrong, Outcome::Failed { status: Some(535), .. }),
        "a password can be put right"
    );
}

#[tokio::test]
async fn what_is_said_ahead_of_tls_is_not_believed() {
    let manners = Manners { offers_tls: true, smuggles: true, ..Manners::default() };
    let (outcome, heard) = sent(manners).await;

    assert!(
        matches!(&outcome, Outcome::Failed { reason, .. } if reason.contains("spoke on")
        || reason.contains("TLS")),
        "{outcome:?}"
    );
    assert!(!heard.iter().any(|line| line.starts_with("MAIL")), "{heard:?}");
}

#[tokio::test]
async fn a_relay_at_a_forbidden_address_is_not_spoken_to() {
    let (port, heard) = relay(Manners::default()).await;

    let outcome = send(
        &AddressPolicy { allow_private: false, targets: Arc::default() },
        &relay_at(port, Manners::default()),
        &letter(),
    )
    .await;

    assert!(
        matches!(&outcome, Outcome::Failed { reason, .. } if reason.contains("loopback")),
        "{outcome:?}"
    );
    assert!(heard.lock().is_empty());
}
