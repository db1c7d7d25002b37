//! The dialog with a relay, a command and its reply at a time (RFC 5321), over any stream.
//!
//! A reply is capped in lines and bytes. Nothing of what a relay says but its status is shown: it may
//! repeat addresses, or what it was told.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};

use super::{Letter, Login};

/// The most bytes and lines of one reply.
const REPLY_BYTES_MAX: u64 = 8 << 10;
const REPLY_LINES_MAX: usize = 100;

/// What a relay is spoken to over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Why a dialog ended without the message being taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// 5xx: it will be the same next time.
    Refused { status: u16 },
    /// 4xx: come again.
    Deferred { status: u16, reason: String },
    /// Something else than a reply of the dialog.
    Broken(String),
}

/// What a relay offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Offered {
    pub(super) starttls: bool,
    auth_plain: bool,
    auth_login: bool,
}

/// A dialog under way.
pub(super) struct Dialog<S> {
    stream: BufReader<S>,
}

impl<S: Stream> Dialog<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Returns the stream for the other protocol that begins now. What the relay said ahead of it in the
    /// clear must not count as said in that one: it ends the dialog.
    pub(super) fn into_stream(self) -> Result<S, Ended> {
        match self.stream.buffer().is_empty() {
            true => Ok(self.stream.into_inner()),
            false => Err(Ended::Broken("the relay spoke on before TLS began".to_owned())),
        }
    }

    pub(super) async fn greeting(&mut self) -> Result<(), Ended> {
        self.expect("the greeting", 2).await.map(drop)
    }

    /// Says who we are, in the newer way or in the older one.
    pub(super) async fn hello(&mut self, name: &str) -> Result<Offered, Ended> {
        self.say(&format!("EHLO {name}")).await?;
        let (status, lines) = self.reply().await?;
        if status / 100 == 5 {
            self.say(&format!("HELO {name}")).await?;
            self.expect("HELO", 2).await?;
            return Ok(Offered::default());
        }
        judge("EHLO", status, 2)?;
        let mut offered = Offered::default();
        for line in lines {
            let line = line.to_ascii_uppercase().replace('=', " ");
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("STARTTLS") => offered.starttls = true,
                Some("AUTH") => words.for_each(|word| {
                    offered.auth_plain |= word == "PLAIN";
                    offered.auth_login |= word == "LOGIN";
                }),
                _ => {}
            }
        }
        Ok(offered)
    }

    pub(super) async fn starttls(&mut self) -> Result<(), Ended> {
        self.say("STARTTLS").await?;
        self.expect("STARTTLS", 2).await.map(drop)
    }

    /// Shows a password; the stream is safe.
    pub(super) async fn login(&mut self, login: &Login, offered: Offered) -> Result<(), Ended> {
        let Login { identity, user, password } = login;
        let password = password.reveal();
        if offered.auth_plain {
            let secret = STANDARD.encode(format!("{identity}\0{user}\0{password}"));
            self.say(&format!("AUTH PLAIN {secret}")).await?;
        } else if offered.auth_login {
            self.say("AUTH LOGIN").await?;
            self.expect("AUTH", 3).await?;
            self.say(&STANDARD.encode(user)).await?;
            self.expect("the user name", 3).await?;
            self.say(&STANDARD.encode(password)).await?;
        } else {
            let reason = "the relay offers neither AUTH PLAIN nor AUTH LOGIN".to_owned();
            return Err(Ended::Broken(reason));
        }
        // A password that is wrong today may be put right: the message waits for that.
        match self.expect("AUTH", 2).await {
            Err(Ended::Refused { status }) => {
                let reason = format!("the relay answered {status} to our password");
                Err(Ended::Deferred { status, reason })
            }
            done => done.map(drop),
        }
    }

    /// Hands a message over; returns the status by which the relay took it.
    pub(super) async fn letter(&mut self, letter: &Letter) -> Result<u16, Ended> {
        self.say(&format!("MAIL FROM:<{}>", letter.from)).await?;
        self.expect("MAIL", 2).await?;
        for to in &letter.to {
            self.say(&format!("RCPT TO:<{to}>")).await?;
            self.expect("RCPT", 2).await?;
        }
        self.say("DATA").await?;
        self.expect("DATA", 3).await?;
        let mut text = String::with_capacity(letter.data.len() + 64);
        for line in letter.data.split_inclusive("\r\n") {
            if line.starts_with('.') {
                text.push('.');
            }
            text.push_str(line);
        }
        if !text.ends_with("\r\n") {
            text.push_str("\r\n");
        }
        text.push('.');
        self.say(&text).await?;
        self.expect("the message", 2).await
    }

    pub(super) async fn quit(&mut self) -> Result<(), Ended> {
        self.say("QUIT").await?;
        self.expect("QUIT", 2).await.map(drop)
    }

    async fn say(&mut self, line: &str) -> Result<(), Ended> {
        let write = async {
            self.stream.write_all(line.as_bytes()).await?;
            self.stream.write_all(b"\r\n").await?;
            self.stream.flush().await
        };
        write.await.map_err(|error| Ended::Broken(format!("the connection broke: {error}")))
    }

    async fn expect(&mut self, to: &str, class: u16) -> Result<u16, Ended> {
        let (status, _) = self.reply().await?;
        judge(to, status, class)?;
        Ok(status)
    }

    /// Reads a reply: its status, and its lines without it.
    async fn reply(&mut self) -> Result<(u16, Vec<String>), Ended> {
        let broken = |reason: &str| Ended::Broken(reason.to_owned());
        let mut lines = Vec::new();
        let mut left = REPLY_BYTES_MAX;
        loop {
            let mut line = Vec::new();
            let read = (&mut self.stream).take(left).read_until(b'\n', &mut line).await;
            read.map_err(|error| Ended::Broken(format!("the connection broke: {error}")))?;
            if line.last() != Some(&b'\n') {
                return Err(broken("the relay hung up, or said a line without an end"));
            }
            left = left.saturating_sub(line.len() as u64);
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end();
            let status = text.get(..3).and_then(|digits| digits.parse::<u16>().ok());
            let status = status.filter(|status| (200..600).contains(status));
            let status = status.ok_or_else(|| broken("what answers there is no mail relay"))?;
            lines.push(text.get(4..).unwrap_or_default().to_owned());
            match text.as_bytes().get(3) {
                Some(b'-') if lines.len() < REPLY_LINES_MAX => {}
                Some(b'-') => return Err(broken("the relay's answer has no end")),
                _ => return Ok((status, lines)),
            }
        }
    }
}

/// Says what a status means where one of a class is wanted.
fn judge(to: &str, status: u16, class: u16) -> Result<(), Ended> {
    match status / 100 {
        found if found == class => Ok(()),
        5 => Err(Ended::Refused { status }),
        4 => Err(Ended::Deferred { status, reason: format!("answered {status} to {to}") }),
        _ => Err(Ended::Broken(format!("answered {status} to {to}"))),
    }
}
