//! Receivers behind an authority of their own, and such as want to know who we are.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::AddressPolicy;
use super::http::HttpOptions;
use super::secret::SecretUrl;
use super::send::{Delivery, Outcome, Sender, WebhookSender};
use super::target::Target;
use super::tls::{Said, Tls};
use crate::base::clock::ManualClock;
use crate::base::tasks::spawn_detached;

fn case(name: &str) -> String {
    let path = format!("{}/tests/cases/tls/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

fn acceptor(asks_who: bool) -> TlsAcceptor {
    let certificate = |name| CertificateDer::from_pem_slice(case(name).as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(case("server.key").as_bytes()).unwrap();
    let provider = Arc::new(ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let config = match asks_who {
        false => config.with_no_client_auth(),
        true => {
            let mut roots = RootCertStore::empty();
            roots.add(certificate("authority.pem")).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = config.with_single_cert(vec![certificate("server.pem")], key).unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// Takes every request that comes through TLS.
async fn receiver(asks_who: bool) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = acceptor(asks_who);
    spawn_detached(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut asked = Vec::new();
            let mut bytes = [0; 1024];
            while !asked.ends_with(b"{\"a\":1}") {
                match stream.read(&mut bytes).await {
                    Ok(n) if n > 0 => asked.extend_from_slice(&bytes[..n]),
                    _ => break,
                }
            }
            if asked.ends_with(b"{\"a\":1}") {
                drop(stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await);
            }
        }
    });
    port
}

async fn send(port: u16, said: Option<Said>) -> Outcome {
    let policy = AddressPolicy { allow_private: true, targets: Arc::default() };
    let sender = WebhookSender::new(policy, None, ManualClock::at_ms(0));
    let target = Target::webhook(SecretUrl::parse(&format!("https://127.0.0.1:{port}/")).unwrap());
    let tls = said.map(|said| Tls::new(said).unwrap());
    let delivery = Delivery {
        target: Target { http: HttpOptions { tls, ..HttpOptions::default() }, ..target },
        timeout: None,
        idempotency_key: "0123".to_owned(),
        path: String::new(),
        body: "{\"a\":1}".to_owned(),
    };
    sender.send(&delivery).await
}

fn trusting() -> Said {
    Said {
        authority: Some(case("authority.pem")),
        server_name: Some("localhost".to_owned()),
        own: None,
    }
}

#[track_caller]
fn check_failed(outcome: &Outcome, why: &str) {
    let Outcome::Failed { reason, status: None, .. } = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains(why), "{reason}");
}

#[tokio::test]
async fn a_receiver_is_believed_by_the_authority_that_the_configuration_names_and_no_other() {
    let port = receiver(false).await;

    assert_eq!(send(port, Some(trusting())).await, Outcome::Delivered { status: 204 });
    check_failed(&send(port, None).await, "invalid peer certificate");
    let other = Said { server_name: Some("hooks.example".to_owned()), ..trusting() };
    check_failed(&send(port, Some(other)).await, "invalid peer certificate");
}

#[tokio::test]
async fn a_receiver_that_asks_who_we_are_is_shown_our_certificate() {
    let port = receiver(true).await;
    let own = Some((case("client.pem"), case("client.key")));

    let shown = send(port, Some(Said { own, ..trusting() })).await;
    let hidden = send(port, Some(trusting())).await;

    assert_eq!(shown, Outcome::Delivered { status: 204 });
    assert!(matches!(hidden, Outcome::Failed { .. }), "{hidden:?}");
}

#[test]
fn what_is_no_certificate_or_does_not_fit_is_refused() {
    let of = |said| Tls::new(said).map(drop);
    let authority = |text: &str| Said { authority: Some(text.to_owned()), ..Said::default() };
    assert_eq!(of(authority("hello")), Err("no certificate is in it".to_owned()));
    let broken = "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n";
    assert!(of(authority(broken)).is_err_and(|error| error.contains("not a PEM file")));
    let own =
        |cert: &str, key: &str| Said { own: Some((case(cert), case(key))), ..Said::default() };
    assert_eq!(of(own("client.pem", "client.key")), Ok(()));
    let error = of(own("client.pem", "server.key")).unwrap_err();
    assert!(error.starts_with("certificate and key do not fit"), "{error}");
    assert!(of(own("client.key", "client.pem")).is_err());
}
