//! E-mail: a message made of a notification, and the dialog by which a relay takes it (RFC 5321).
//!
//! A relay is a receiver like any other: it is resolved and judged as a webhook's host is, one attempt
//! has one deadline, what it refuses for good (5xx) is refused, what it defers (4xx) is tried again.
//! A password goes over TLS or not at all. The `Message-ID` is made of the notification's name, so that a
//! message which comes twice is one message to those who read it.

mod address;
mod compose;
mod dialog;

#[cfg(test)]
mod tests;

use std::time::Duration;

use tokio::net::TcpStream;

use super::connect::{Place, connect};
use super::secret::SecretText;
use super::send::{Outcome, failed};
use super::{AddressPolicy, said::Said};
use dialog::{Dialog, Ended};

pub(super) use address::addresses;
pub(super) use compose::{Letter, Texts, compose};

/// The longest wait for the relay's farewell, once it has taken the message.
const QUIT_WITHIN: Duration = Duration::from_secs(2);

/// How a relay is reached, and what it is told about us.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Relay {
    pub(super) host: String,
    pub(super) port: u16,
    /// The name we greet with.
    pub(super) hello: String,
    pub(super) login: Option<Login>,
    /// Whether the dialog may go on in the clear.
    pub(super) needs_tls: bool,
    /// TLS from the first byte on, as at port 465.
    pub(super) is_implicit: bool,
    pub(super) tls: super::tls::Tls,
}

/// Who we say we are.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Login {
    pub(super) identity: String,
    pub(super) user: String,
    pub(super) password: SecretText,
}

/// What a configuration says of an e-mail.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Email {
    pub(super) relay: Relay,
    pub(super) from: Said,
    pub(super) to: Said,
    /// Headers by their names, `Subject` among them.
    pub(super) headers: Vec<(String, Said)>,
    pub(super) html: Said,
    pub(super) text: Said,
}

/// Hands a message to a relay.
pub(super) async fn send(policy: &AddressPolicy, relay: &Relay, letter: &Letter) -> Outcome {
    match attempt(policy, relay, letter).await {
        Ok(status) => Outcome::Delivered { status },
        Err(Ended::Refused { status }) => Outcome::Refused { status },
        Err(Ended::Deferred { status, reason }) => {
            Outcome::Failed { reason, status: Some(status), retry_after: None }
        }
        Err(Ended::Broken(reason)) => failed(reason),
    }
}

async fn attempt(policy: &AddressPolicy, relay: &Relay, letter: &Letter) -> Result<u16, Ended> {
    let place = Place { host: &relay.host, port: relay.port };
    let stream = connect(policy, place).await.map_err(|error| Ended::Broken(error.to_string()))?;
    if relay.is_implicit {
        let stream = relay.tls.wrap(&relay.host, stream).await.map_err(Ended::Broken)?;
        return converse(Dialog::new(stream), relay, letter, true, true).await;
    }
    let mut dialog = Dialog::new(stream);
    dialog.greeting().await?;
    let offered = dialog.hello(&relay.hello).await?;
    if offered.starttls {
        dialog.starttls().await?;
        let stream: TcpStream = dialog.into_stream()?;
        let stream = relay.tls.wrap(&relay.host, stream).await.map_err(Ended::Broken)?;
        return converse(Dialog::new(stream), relay, letter, true, false).await;
    }
    if relay.needs_tls {
        let host = &relay.host;
        let reason = format!("{host} does not offer STARTTLS (`require_tls: false` goes without)");
        return Err(Ended::Broken(reason));
    }
    deliver(&mut dialog, relay, letter, offered, false).await
}

/// Greets over a stream that is as safe as it will be, then delivers.
async fn converse<S: dialog::Stream>(
    mut dialog: Dialog<S>,
    relay: &Relay,
    letter: &Letter,
    is_safe: bool,
    is_first: bool,
) -> Result<u16, Ended> {
    if is_first {
        dialog.greeting().await?;
    }
    let offered = dialog.hello(&relay.hello).await?;
    deliver(&mut dialog, relay, letter, offered, is_safe).await
}

async fn deliver<S: dialog::Stream>(
    dialog: &mut Dialog<S>,
    relay: &Relay,
    letter: &Letter,
    offered: dialog::Offered,
    is_safe: bool,
) -> Result<u16, Ended> {
    if let Some(login) = &relay.login {
        if !is_safe {
            let reason = format!("the password for {} is not sent in the clear", relay.host);
            return Err(Ended::Broken(reason));
        }
        dialog.login(login, offered).await?;
    }
    let status = dialog.letter(letter).await?;
    // It is the relay's now, whatever it says on parting.
    drop(tokio::time::timeout(QUIT_WITHIN, dialog.quit()).await);
    Ok(status)
}

/// What the fuzz targets call.
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing {
    use super::dialog::{Dialog, Ended};
    use super::{Letter, Login, SecretText};

    /// Asserts that a text added no header and ended no message.
    pub(in crate::notify) fn check(letter: &Letter, text: &str) {
        let data = &letter.data;
        assert!(data.is_ascii(), "{data}");
        assert!(!data.contains("\r\n.\r\n") && !data.starts_with(".\r\n"), "{data}");
        let (head, _) = data.split_once("\r\n\r\n").expect("an empty line ends the headers");
        let names = head.split("\r\n").filter(|line| !line.starts_with(' '));
        let known = [
            "From",
            "To",
            "Subject",
            "Date",
            "Message-ID",
            "References",
            "Auto-Submitted",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
        ];
        for line in names {
            let name = line.split(':').next().unwrap_or_default();
            assert!(known.contains(&name), "{line:?} of {text:?}");
        }
    }

    /// Goes through a dialog in which the relay says these bytes, whatever it is told.
    pub(in crate::notify) async fn converse(relay: &[u8], letter: &Letter) {
        let mut heard = Vec::new();
        let stream = tokio::io::join(relay, &mut heard);
        let login = Login {
            identity: String::new(),
            user: "watch".to_owned(),
            password: SecretText::new("hunter2"),
        };
        let mut dialog = Dialog::new(stream);
        let ended: Result<u16, Ended> = async {
            dialog.greeting().await?;
            let offered = dialog.hello("watch.example").await?;
            dialog.login(&login, offered).await?;
            dialog.letter(letter).await
        }
        .await;
        if let Ok(status) = ended {
            assert_eq!(status / 100, 2, "only what a relay takes is delivered");
        }
    }
}
