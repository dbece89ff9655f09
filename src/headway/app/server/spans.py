"""OpenTelemetry spans of requests, with the attributes of its conventions for generative AI.

Without an SDK everything here does nothing, at the cost of a function call.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import propagate, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from headway import __version__
from headway.app.server.order import Order
from headway.app.server.record import Record

tracer = trace.get_tracer("headway", __version__)

EXPORT_VARIABLES = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def export_if_asked() -> bool:
    """Export spans by OTLP when the environment names an endpoint and the SDK is there; says whether it does."""
    if not any(os.environ.get(name) for name in EXPORT_VARIABLES):
        return False
    try:
        exporter = importlib.import_module("opentelemetry.exporter.otlp.proto.http.trace_exporter")
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        return False
    provider = TracerProvider(
        resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "headway")})
    )
    provider.add_span_processor(BatchSpanProcessor(exporter.OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    return True


@contextmanager
def request_span(headers: list[tuple[bytes, bytes]], record: Record) -> Iterator[Span]:
    """Open the span of one request as a child of what its `traceparent` names, and close it with what became of it."""
    carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    context = propagate.extract(carrier)
    with tracer.start_as_current_span(record.route, context=context, kind=SpanKind.SERVER) as span:
        ids = span.get_span_context()
        record.trace_id = f"{ids.trace_id:032x}" if ids.is_valid else ""
        yield span
        if span.is_recording():
            _end(span, record)


def note_order(order: Order) -> None:
    """Say on the current span what was asked for."""
    span = trace.get_current_span()
    if not span.is_recording():
        return
    sampling, operation = order.sampling[0], "chat" if order.chat else "text_completion"
    span.update_name(f"{operation} {order.model}")
    span.set_attributes(
        {
            "gen_ai.operation.name": operation,
            "gen_ai.provider.name": "headway",
            "gen_ai.request.model": order.model,
            "gen_ai.request.max_tokens": sampling.max_tokens,
            "gen_ai.request.temperature": sampling.temperature,
            "gen_ai.request.top_p": sampling.top_p,
            "gen_ai.request.choice.count": order.num_choices,
            "gen_ai.response.id": order.id,
            "gen_ai.response.model": order.model,
            "headway.slo_class": order.promise.slo_class,
            "headway.tenant": order.promise.tenant,
        }
    )


def _end(span: Span, record: Record) -> None:
    span.set_attribute("http.response.status_code", record.status)
    if record.prompt_tokens:
        span.set_attribute("gen_ai.usage.input_tokens", record.prompt_tokens)
        span.set_attribute("gen_ai.usage.output_tokens", record.output_tokens)
        span.set_attribute("gen_ai.response.finish_reasons", record.finish.split(","))
    if record.ttft_s is not None:
        span.set_attribute("gen_ai.server.time_to_first_token", record.ttft_s)
    if record.error:
        span.set_attribute("error.type", str(record.status))
        span.set_status(Status(StatusCode.ERROR, record.error))
