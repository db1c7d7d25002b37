//! `query`, `query_range`, `query_exemplars`, `format_query`.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;

use super::super::ask::{AskOptions, Listed};
use super::super::error::ApiError;
use super::super::json::{push_answer, push_labels, push_list, success, success_value};
use super::super::params::Params;
use super::super::{Api, number};
use super::{FOREVER_MS, truncate};
use crate::base::Kind;
use crate::model::Grant;
use crate::model::exemplar::SeriesExemplars;
use crate::query::promql::{Answer, Timings, Value};

pub(super) async fn instant(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let time_ms = params.time_ms("time", api.clock.now_ms())?;
    let limit = params.limit("limit")?;
    let options = options_of(&params)?;
    let query = params.required("query")?;
    let begun_ns = api.clock.monotonic_ns();
    let answer = api.ask.instant(&grant, query, time_ms, options).await?;
    let took_ns = api.clock.monotonic_ns().saturating_sub(begun_ns);
    Ok(render(answer, limit, Stats::of(&params, took_ns)))
}

pub(super) async fn range(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let times = range_of(&params)?;
    let limit = params.limit("limit")?;
    let options = options_of(&params)?;
    let query = params.required("query")?;
    let begun_ns = api.clock.monotonic_ns();
    let answer = api.ask.range(&grant, query, times, options).await?;
    let took_ns = api.clock.monotonic_ns().saturating_sub(begun_ns);
    Ok(render(answer, limit, Stats::of(&params, took_ns)))
}

/// Returns (start, end, step) in ms.
fn range_of(params: &Params) -> Result<(i64, i64, i64), ApiError> {
    let start_ms = params.required_time_ms("start")?;
    let end_ms = params.required_time_ms("end")?;
    if end_ms < start_ms {
        return Err(ApiError::parameter("end", "end timestamp must not be before start time"));
    }
    params.required("step")?;
    let step_ms = params.duration_ms("step")?.unwrap_or(0);
    if step_ms <= 0 {
        return Err(ApiError::parameter(
            "step",
            "zero or negative query resolution step widths are not accepted. Try a positive integer",
        ));
    }
    Ok((start_ms, end_ms, step_ms))
}

fn options_of(params: &Params) -> Result<AskOptions, ApiError> {
    let positive = |name| match params.duration_ms(name)? {
        Some(ms) if ms <= 0 => Err(ApiError::parameter(name, "it must be longer than 0")),
        other => Ok(other),
    };
    let timeout = positive("timeout")?.map(|ms| Duration::from_millis(ms.unsigned_abs()));
    let counts_samples = params.get("stats").is_some();
    Ok(AskOptions { timeout, lookback_ms: positive("lookback_delta")?, counts_samples })
}

/// What an answer tells of itself.
struct Stats {
    took_ns: u64,
    has_steps: bool,
    /// Why the caller should ask in another way.
    warning: Option<String>,
}

impl Stats {
    /// Any value of `stats` asks for statistics, `all` for those of each step as well. As in Prometheus,
    /// other values than these two are not for ever.
    fn of(params: &Params, took_ns: u64) -> Option<Self> {
        let wanted = params.get("stats")?;
        let warning = (!matches!(wanted, "true" | "all")).then(|| {
            format!(
                "value \"{wanted}\" for parameter \"stats\" is deprecated and will be rejected in the \
                 next major release, use \"true\" or \"all\""
            )
        });
        Some(Self { took_ns, has_steps: wanted == "all", warning })
    }
}

fn render(mut answer: Answer, limit: Option<usize>, stats: Option<Stats>) -> Response {
    let cut = match &mut answer.value {
        Value::Vector(samples) => truncate(samples, limit),
        Value::Matrix(series) => truncate(series, limit),
        Value::Scalar { .. } | Value::String { .. } => Vec::new(),
    };
    answer.warnings.extend(cut);
    answer.warnings.extend(stats.as_ref().and_then(|stats| stats.warning.clone()));
    success(&answer.warnings, &answer.infos, answer.value.likely_bytes(), |out| {
        out.push('{');
        push_answer(out, &answer.value);
        if let Some(stats) = &stats {
            push_stats(out, stats, &answer);
        }
        out.push('}');
    })
}

fn push_timings(out: &mut String, took_ns: u64, timings: Timings) {
    let Timings { queued_ns, prepared_ns, evaluated_ns, sorted_ns } = timings;
    let mut separator = '{';
    for (name, ns) in [
        ("evalTotalTime", prepared_ns + evaluated_ns + sorted_ns),
        ("resultSortTime", sorted_ns),
        ("queryPreparationTime", prepared_ns),
        ("innerEvalTime", evaluated_ns),
        ("execQueueTime", queued_ns),
        ("execTotalTime", took_ns),
    ] {
        out.push_str(&format!("{separator}\"{name}\":"));
        number::push_sample_value(out, Duration::from_nanos(ns).as_secs_f64());
        separator = ',';
    }
    out.push('}');
}

fn push_stats(out: &mut String, stats: &Stats, answer: &Answer) {
    out.push_str(",\"stats\":{\"timings\":");
    push_timings(out, stats.took_ns, answer.timings);
    out.push_str(",\"samples\":{");
    let (per_step, n_peak) =
        answer.counts.as_ref().map_or((&[][..], 0), |counts| (&counts.per_step, counts.n_peak));
    if stats.has_steps {
        out.push_str("\"totalQueryableSamplesPerStep\":");
        push_list(out, per_step, |out, (at_ms, n)| {
            out.push('[');
            number::push_seconds(out, *at_ms);
            out.push_str(&format!(",{n}]"));
        });
        out.push(',');
    }
    let n_looked_at: u64 = per_step.iter().map(|(_, n)| n).sum();
    out.push_str(&format!(
        "\"totalQueryableSamples\":{n_looked_at},\"samplesRead\":{},\"peakSamples\":{n_peak}}}}}",
        answer.n_samples
    ));
}

/// Without bounds all there is is asked for. Grafana's probe sends ms for seconds, and wants an empty success.
pub(super) async fn exemplars(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let query = params.required("query")?;
    let start_ms = params.time_ms("start", 0)?;
    let end_ms = params.time_ms("end", FOREVER_MS.max(start_ms))?;
    if end_ms < start_ms {
        let message = "end timestamp must not be before start timestamp";
        return Err(ApiError::new(Kind::BadInput, message));
    }
    let Listed { list, warnings } = api.ask.exemplars(&grant, query, (start_ms, end_ms)).await?;
    Ok(success(&warnings, &[], 256 * list.len(), |out| push_list(out, &list, push_exemplars)))
}

fn push_exemplars(out: &mut String, series: &SeriesExemplars) {
    out.push_str("{\"seriesLabels\":");
    push_labels(out, &series.labels);
    out.push_str(",\"exemplars\":");
    push_list(out, &series.exemplars, |out, exemplar| {
        out.push_str("{\"labels\":");
        push_labels(out, &exemplar.labels);
        out.push_str(",\"value\":\"");
        number::push_sample_value(out, exemplar.value);
        out.push_str("\",\"timestamp\":");
        number::push_seconds(out, exemplar.timestamp_ns.div_euclid(1_000_000));
        out.push('}');
    });
    out.push('}');
}

pub(super) async fn format(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let formatted = api.ask.format(&grant, params.required("query")?).await?;
    Ok(success_value(&serde_json::Value::String(formatted)))
}

pub(super) async fn parse(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    Ok(success_value(&api.ask.parse(&grant, params.required("query")?).await?))
}
