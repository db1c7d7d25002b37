//! An alert as an e-mail, through templates of one's own, to a relay on loopback.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use serde_json::json;

use super::{alert, ask};
use crate::support::Setup;
use crate::support::http::Request;
use crate::support::wait::{PATIENCE, until};

/// A relay that takes everything and keeps the messages.
fn relay() -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::<Mutex<Vec<String>>>::default();
    let shared = Arc::clone(&taken);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            drop(serve(&stream, &shared));
        }
    });
    (port, taken)
}

fn serve(mut stream: &TcpStream, taken: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream);
    stream.write_all(b"220 relay\r\n")?;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        if line.trim_end() != "DATA" {
            stream.write_all(b"250 fine\r\n")?;
            continue;
        }
        stream.write_all(b"354 go on\r\n")?;
        let mut message = String::new();
        while !message.ends_with("\r\n.\r\n") {
            reader.read_line(&mut message)?;
        }
        taken.lock().expect("no thread panicked with it").push(message);
        stream.write_all(b"250 taken\r\n")?;
    }
}

#[test]
fn an_alert_is_mailed_as_its_template_says() {
    let (port, taken) = relay();
    let setup = Setup::new("mail").config("[alerting]\nfile = \"alertmanager.yml\"\n");
    let config = format!(
        "global: {{smtp_smarthost: '127.0.0.1:{port}', smtp_from: 'Watch <watch@csoc.example>', \
         smtp_require_tls: false}}\ntemplates: ['own/*.tmpl']\nroute: {{receiver: team, group_wait: 0s}}\n\
         receivers:\n- name: team\n  email_configs:\n  - to: '{{{{ .CommonLabels.owner }}}}@heart.example'\n    \
         headers: {{Subject: '{{{{ template \"own.subject\" . }}}}'}}\n    \
         text: '{{{{ range .Alerts.Firing }}}}{{{{ .Annotations.summary }}}}{{{{ end }}}}'\n"
    );
    std::fs::write(setup.home().join("alertmanager.yml"), config).unwrap();
    std::fs::create_dir(setup.home().join("own")).unwrap();
    let template =
        "{{ define \"own.subject\" }}{{ .Status | toUpper }}: {{ .CommonLabels.commons }}{{ end }}";
    std::fs::write(setup.home().join("own/a.tmpl"), template).unwrap();
    let server = setup.start();

    let told = json!([alert("Down commons=heart owner=alice", "2026-01-01T10:00:00Z", None)]);
    ask(&server.addresses().http, Request::post("/am/api/v2/alerts", told.to_string()));

    let message = until("the mail", PATIENCE, || {
        let taken = taken.lock().unwrap();
        taken.first().cloned().ok_or_else(|| "nothing came".to_owned())
    });
    for line in [
        "From: Watch <watch@csoc.example>\r\n",
        "To: alice@heart.example\r\n",
        "Subject: FIRING: heart\r\n",
        "Content-Type: text/html; charset=UTF-8\r\n",
    ] {
        assert!(message.contains(line), "{line}: {message}");
    }
    let text =
        base64::engine::general_purpose::STANDARD.encode("Down commons=heart owner=alice is wrong");
    assert!(message.contains(&text), "{message}");
    until("the delivery to be written down", PATIENCE, || {
        let path = "/api/v1/admin/alerts/history";
        let history = ask(&server.addresses().http, Request::get(path)).to_string();
        if history.contains("\"desk\":\"team/email[0]\"") && history.contains("\"status\":250") {
            Ok(())
        } else {
            Err(history)
        }
    });
}
