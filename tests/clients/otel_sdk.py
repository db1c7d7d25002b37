"""Sends traces, metrics and logs through the real OpenTelemetry SDK, over gRPC and over HTTP, and
prints as JSON what it sent: the server must give back just that. Endpoints of https trust the
authority whose file is the third argument."""

import json
import logging
import os
import sys

from opentelemetry import metrics, trace
from opentelemetry._logs import set_logger_provider
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogs
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as GrpcMetrics
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpans
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogs
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as HttpMetrics
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpans
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, Status, StatusCode

N_SPANS = 20


def exporters(protocol, endpoint):
    if protocol == "grpc":
        clear = {"insecure": not endpoint.startswith("https://")}
        return (
            GrpcSpans(endpoint=endpoint, **clear),
            GrpcMetrics(endpoint=endpoint, **clear),
            GrpcLogs(endpoint=endpoint, **clear),
        )
    # One of the two ways compresses, so that both are met.
    gzip = {"compression": Compression.Gzip}
    return (
        HttpSpans(endpoint=f"{endpoint}/v1/traces", **gzip),
        HttpMetrics(endpoint=f"{endpoint}/v1/metrics", **gzip),
        HttpLogs(endpoint=f"{endpoint}/v1/logs", **gzip),
    )


def send_spans(provider):
    """Returns the spans sent, a parent with an event and failing children."""
    tracer = provider.get_tracer("story", "1.0")
    sent = []
    with tracer.start_as_current_span("parent", kind=SpanKind.SERVER) as parent:
        parent.set_attribute("http.method", "GET")
        parent.add_event("half-way", {"step": 1})
        for number in range(N_SPANS):
            with tracer.start_as_current_span(f"child {number}", kind=SpanKind.CLIENT) as child:
                child.set_attribute("number", number)
                if number % 5 == 0:
                    child.set_status(Status(StatusCode.ERROR, "five"))
            sent.append(child)
    sent.append(parent)
    return [span_row(span) for span in sent]


def span_row(span):
    context = span.get_span_context()
    return {
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "name": span.name,
        "kind": span.kind.name.lower(),
        "status_code": span.status.status_code.name.lower(),
        "start": span.start_time,
        "end": span.end_time,
        "number": span.attributes.get("number"),
    }


def send_metrics(provider):
    """Returns the values that the series must have, by their Prometheus names."""
    meter = provider.get_meter("story")
    counter = meter.create_counter("story.requests", unit="1")
    balance = meter.create_up_down_counter("story.balance")
    latency = meter.create_histogram("story.latency", unit="s", explicit_bucket_boundaries_advisory=[0.1, 1.0])
    meter.create_observable_gauge("story.temperature", [lambda _: [metrics.Observation(-40.5, {"room": "a"})]])
    for number in range(10):
        counter.add(number, {"method": "GET"})
        balance.add(-number)
        latency.record(number / 4)
    return [
        {"metric": "story_requests_total", "value": 45.0},
        {"metric": "story_balance", "value": -45.0},
        {"metric": "story_temperature", "value": -40.5},
        {"metric": "story_latency_seconds_count", "value": 10.0},
        {"metric": "story_latency_seconds_sum", "value": 11.25},
        {"metric": "story_latency_seconds_bucket", "le": "0.1", "value": 1.0},
        {"metric": "story_latency_seconds_bucket", "le": "1", "value": 5.0},
        {"metric": "story_latency_seconds_bucket", "le": "+Inf", "value": 10.0},
    ]


def send_logs(provider, tracer_provider):
    """Returns the records sent; one of them inside a span."""
    logger = logging.getLogger("story")
    logger.setLevel(logging.DEBUG)
    logger.handlers = [LoggingHandler(logger_provider=provider)]
    logger.propagate = False
    logger.info("ready to serve")
    logger.warning("quotes \" and \u00fcn\u00efcode \U0001f600", extra={"attempt": 3})
    with tracer_provider.get_tracer("story").start_as_current_span("logging") as span:
        logger.error("inside a span")
    inside = span.get_span_context()
    return [
        {"body": "ready to serve", "severity_number": 9},
        {"body": "quotes \" and \u00fcn\u00efcode \U0001f600", "severity_number": 13},
        {
            "body": "inside a span",
            "severity_number": 17,
            "trace_id": f"{inside.trace_id:032x}",
            "span_id": f"{inside.span_id:016x}",
        },
    ], span_row(span)


def send(protocol, endpoint):
    resource = Resource.create({"service.name": f"sdk-{protocol}", "service.instance.id": "one"})
    spans_to, metrics_to, logs_to = exporters(protocol, endpoint)
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(spans_to))
    meters = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(metrics_to)])
    loggers = LoggerProvider(resource=resource)
    loggers.add_log_record_processor(BatchLogRecordProcessor(logs_to))

    spans, points = send_spans(tracers), send_metrics(meters)
    records, span = send_logs(loggers, tracers)
    for provider in (tracers, meters, loggers):
        if not provider.force_flush():
            sys.exit(f"{provider} over {protocol}: not everything was taken")
        provider.shutdown()
    return {"spans": spans + [span], "metrics": points, "logs": records}


if __name__ == "__main__":
    _, grpc, http, *authority = sys.argv
    if authority:
        # The second is what `requests` prefers, should the machine have set it.
        for name in ("OTEL_EXPORTER_OTLP_CERTIFICATE", "REQUESTS_CA_BUNDLE"):
            os.environ[name] = authority[0]
    json.dump({"grpc": send("grpc", grpc), "http": send("http", http)}, sys.stdout)
