//! The questions, and what each took.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;

use commonwatch::base::clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::lines::{Lines, request_id};
use crate::load::Port;
use crate::load::http::{Poster, get};
use crate::load::spans::trace_id;
use crate::servers::Server;

/// How often a question is asked, each time another of its kind.
const N_ASKED: u64 = 11;

/// What one kind of question took.
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) p50_ms: f64,
    pub(super) max_ms: f64,
    /// Of the server, a question.
    pub(super) cpu_ms: f64,
    /// Lines, series, rows, spans or traces of the last answer.
    pub(super) n_found: usize,
}

/// Asks a server what is stored there.
pub(super) struct Asker {
    server: Server,
    lines: Lines,
    n_spans: u64,
    spans_ns: Range<u64>,
}

impl Asker {
    pub(super) fn new(
        server: Server,
        lines: Lines,
        (n_spans, spans_ns): (u64, Range<u64>),
    ) -> Self {
        Self { server, lines, n_spans, spans_ns }
    }

    /// Asks everything.
    pub(super) fn all(mut self, figures: &mut Vec<Figure>) -> io::Result<Server> {
        let first = self.lines.n / 3;
        self = self.cold()?;
        figures.push(self.timed("needle, cold", 1, |this, _| this.needle(first))?);
        figures.push(
            self.timed("needle, warm", N_ASKED, |this, n| this.needle(this.lines.n / N_ASKED * n))?,
        );
        figures.push(self.timed("needle that is nowhere", N_ASKED, |this, n| {
            this.needle(this.lines.n * 2 + n)
        })?);
        let words = "graphql HTTP";
        figures.push(self.timed("newest 100 lines with a frequent text", N_ASKED, |this, _| {
            this.newest(&format!("{{service=\"indexd\"}} |= `{words}`"))
        })?);
        figures.push(self.timed("newest 100 lines of a service", N_ASKED, |this, n| {
            let services = &super::lines::SERVICES;
            let at = usize::try_from(n).expect("small") % services.len();
            this.newest(&format!("{{service=\"{}\"}}", services[at]))
        })?);
        self.counts(figures)?;
        self.traces(figures)?;
        Ok(self.server)
    }

    fn counts(&self, figures: &mut Vec<Figure>) -> io::Result<()> {
        let regex = "sum(count_over_time({service=~\".+\"} |~ `http_status_code\": 5\\d\\d.*PUT /index` [24h]))";
        figures.push(
            self.timed("regular expression over all lines", 2, |this, _| this.count(regex, None))?,
        );
        let rate = "sum by (http_status_code) (rate({service=~\".+\"} | json [1m]))";
        figures.push(self.timed(
            "sum by (status) (rate(… | json [1m])), 1 h",
            3,
            |this, _| this.count(rate, Some((3_600, 60))),
        )?);
        figures.push(self.timed(
            "sum by (status) (rate(… | json [1m])), 24 h",
            1,
            |this, _| this.count(rate, Some((86_400, 60))),
        )?);
        let volume = "sum by (level, detected_level) (count_over_time({service=~\".+\"} | drop __error__ [5m]))";
        figures.push(self.timed("log volume by level, 24 h", 3, |this, _| {
            this.count(volume, Some((86_400, 300)))
        })?);
        let span_s = 86_400 * 1_000_000 / self.lines.n.max(1_000_000);
        let labels = format!(
            "sum by (service, cluster, detected_level) (count_over_time({{service=~\".+\"}} [{span_s}s]))"
        );
        figures.push(self.timed("count by three labels, 1 M lines, LogQL", 3, |this, _| {
            this.count(&labels, None)
        })?);
        let three = format!(
            "sum by (service, http_verb, http_status_code) (count_over_time({{service=~\".+\"}} | json [{span_s}s]))"
        );
        figures.push(self.timed(
            "count by three JSON fields, 1 M lines, LogQL",
            1,
            |this, _| this.count(&three, None),
        )?);
        let start_ms = i64::try_from(self.lines.end_ns / 1_000_000 - span_s * 1_000).ok();
        let start = start_ms.and_then(chrono::DateTime::from_timestamp_millis);
        let start = start.expect("of this century").to_rfc3339();
        let sql = format!(
            "SELECT service, cluster, severity_number, count(*) FROM logs \
             WHERE timestamp >= '{start}' GROUP BY 1, 2, 3"
        );
        figures.push(
            self.timed("count by three columns, 1 M lines, SQL", 3, |this, _| this.sql(&sql))?,
        );
        figures.push(self.timed("needle, SQL: body LIKE", 3, |this, n| {
            let id = request_id(this.lines.n / 3 * n);
            this.sql(&format!("SELECT timestamp, body FROM logs WHERE body LIKE '%{id}%'"))
        })?);
        Ok(())
    }

    fn traces(&self, figures: &mut Vec<Figure>) -> io::Result<()> {
        figures.push(
            self.timed("trace by id", N_ASKED, |this, n| this.trace(this.n_spans / N_ASKED * n))?,
        );
        figures.push(self.timed("trace by an id that is nowhere", N_ASKED, |this, n| {
            this.trace(this.n_spans * 2 + n * 8)
        })?);
        for (name, query) in [
            ("TraceQL, frequent: status code 500", "{ span.http.response.status_code = \"500\" }"),
            (
                "TraceQL, service and duration",
                "{ resource.service.name = \"fence\" && duration > 200ms }",
            ),
            ("TraceQL, of no span", "{ name = \"DELETE /nothing\" }"),
        ] {
            figures.push(self.timed(name, 2, |this, _| this.search(query))?);
        }
        for (name, query) in [
            ("TraceQL metrics: rate of roots", "{ nestedSetParent < 0 } | rate()"),
            (
                "TraceQL metrics: rate of few, by service",
                "{ name = \"GET /index/{id}\" && duration > 240ms } | rate() by (resource.service.name)",
            ),
            ("TraceQL metrics: p90 of all", "{ } | quantile_over_time(duration, .9)"),
        ] {
            figures.push(self.timed(name, 1, |this, _| this.rate(query))?);
        }
        figures.push(self.timed("values of an attribute of spans", 1, |this, _| {
            let (start, end) = this.seconds();
            let answer = this.get(&format!(
                "/tempo/api/v2/search/tag/span.http.route/values?start={start}&end={end}&limit=5000"
            ))?;
            Ok(answer["tagValues"].as_array().map_or(0, Vec::len))
        })?);
        Ok(())
    }

    /// Starts the server anew, with none of its files in memory.
    fn cold(self) -> io::Result<Self> {
        let Self { server, lines, n_spans, spans_ns } = self;
        Ok(Self { server: server.restart_cold()?, lines, n_spans, spans_ns })
    }

    fn timed(
        &self,
        name: &str,
        n_asked: u64,
        ask: impl Fn(&Self, u64) -> io::Result<usize>,
    ) -> io::Result<Figure> {
        eprintln!("==> {name}");
        let clock = SystemClock::new();
        let before_s = self.server.process().cpu_s()?;
        let mut took_ns = Vec::new();
        let mut n_found = 0;
        for n in 0..n_asked {
            let start_ns = clock.monotonic_ns();
            n_found = ask(self, n)?;
            took_ns.push(clock.monotonic_ns() - start_ns);
        }
        let cpu_s = self.server.process().cpu_s()? - before_s;
        took_ns.sort_unstable();
        let ms = |ns: u64| super::number(ns) / 1e6;
        Ok(Figure {
            name: name.to_owned(),
            p50_ms: ms(took_ns[took_ns.len() / 2]),
            max_ms: ms(took_ns[took_ns.len() - 1]),
            cpu_ms: cpu_s * 1e3 / super::number(n_asked),
            n_found,
        })
    }

    fn needle(&self, n: u64) -> io::Result<usize> {
        let n_found = self.newest(&format!("{{service=~\".+\"}} |= `{}`", request_id(n)))?;
        let n_wanted = usize::from(n < self.lines.n);
        if n_found != n_wanted {
            return Err(io::Error::other(format!("line {n}: {n_found} found, {n_wanted} wanted")));
        }
        Ok(n_found)
    }

    fn newest(&self, query: &str) -> io::Result<usize> {
        let (start, end) = (self.lines.start_ns, self.lines.end_ns);
        let query = encoded(query);
        let answer = self.get(&format!(
            "/loki/api/v1/query_range?query={query}&start={start}&end={end}&limit=100"
        ))?;
        let streams = answer["data"]["result"].as_array().into_iter().flatten();
        Ok(streams.map(|stream| stream["values"].as_array().map_or(0, Vec::len)).sum())
    }

    /// Asks for numbers at the end, or at steps of so many seconds until then.
    fn count(&self, query: &str, range: Option<(u64, u64)>) -> io::Result<usize> {
        let (query, end) = (encoded(query), self.lines.end_ns);
        let answer = match range {
            None => self.get(&format!("/loki/api/v1/query?query={query}&time={end}"))?,
            Some((length_s, step_s)) => {
                let start = end - length_s * 1_000_000_000;
                self.get(&format!(
                    "/loki/api/v1/query_range?query={query}&start={start}&end={end}&step={step_s}"
                ))?
            }
        };
        Ok(answer["data"]["result"].as_array().map_or(0, Vec::len))
    }

    fn sql(&self, query: &str) -> io::Result<usize> {
        let address = self.server.address(Port::Http);
        let headers = "Content-Type: application/json\r\n";
        let body = json!({ "query": query }).to_string();
        let answer = Poster::connect(address, "/api/v1/sql", headers)?.ask(body.as_bytes())?;
        let answer: Value = serde_json::from_slice(&answer).map_err(io::Error::other)?;
        Ok(answer["rows"].as_array().map_or(0, Vec::len))
    }

    fn trace(&self, record: u64) -> io::Result<usize> {
        let path = format!("/tempo/api/traces/{}", trace_id(record));
        let answer = get(self.server.address(Port::Http), &path)?;
        let n_found = answer.matches("\"spanId\"").count();
        if (n_found > 0) != (record < self.n_spans) {
            return Err(io::Error::other(format!("the trace of span {record}: {n_found} spans")));
        }
        Ok(n_found)
    }

    fn seconds(&self) -> (u64, u64) {
        (self.spans_ns.start / 1_000_000_000, self.spans_ns.end / 1_000_000_000)
    }

    fn rate(&self, query: &str) -> io::Result<usize> {
        let ((start, end), query) = (self.seconds(), encoded(query));
        let path = format!(
            "/tempo/api/metrics/query_range?q={query}&start={start}&end={end}&step=5m&exemplars=0"
        );
        Ok(self.get(&path)?["series"].as_array().map_or(0, Vec::len))
    }

    fn search(&self, query: &str) -> io::Result<usize> {
        let (start, end) = self.seconds();
        let query = encoded(query);
        let answer =
            self.get(&format!("/tempo/api/search?q={query}&start={start}&end={end}&limit=20"))?;
        Ok(answer["traces"].as_array().map_or(0, Vec::len))
    }

    fn get(&self, path: &str) -> io::Result<Value> {
        let answer = get(self.server.address(Port::Http), path)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if !head.starts_with("HTTP/1.1 200") {
            return Err(io::Error::other(format!("{path}: {answer}")));
        }
        serde_json::from_str(body).map_err(io::Error::other)
    }
}

pub(super) fn encoded(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~".contains(&b);
    text.bytes()
        .map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// Writes the figures to `target/bench/search.json`.
pub(super) fn save(figures: &[Figure], bytes: &[(&str, u64)], n_lines: u64) {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("bench");
    let questions: Vec<Value> = figures
        .iter()
        .map(|f| {
            json!({
                "question": f.name, "p50_ms": f.p50_ms, "max_ms": f.max_ms, "cpu_ms": f.cpu_ms,
                "found": f.n_found,
            })
        })
        .collect();
    let bytes: serde_json::Map<String, Value> =
        bytes.iter().map(|(name, n)| ((*name).to_owned(), json!(n))).collect();
    let all = json!({ "lines": n_lines, "bytes": bytes, "questions": questions });
    let written = fs::create_dir_all(&folder)
        .and_then(|()| fs::write(folder.join("search.json"), format!("{all:#}\n")));
    if let Err(error) = written {
        eprintln!("{}: {error}", folder.display());
    }
}
