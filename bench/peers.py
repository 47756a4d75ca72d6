"""Python's prometheus_client and logging as a service of that language uses them: figures as JSON."""

import json
import logging
import tempfile
import time
from datetime import datetime, timezone

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

BOUNDS = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0,
]


def best_of(work, times, rounds=5):
    """Median nanoseconds of one call."""
    figures = []
    for _ in range(rounds):
        began = time.perf_counter_ns()
        for _ in range(times):
            work()
        figures.append((time.perf_counter_ns() - began) / times)
    return sorted(figures)[rounds // 2]


class JsonFormatter(logging.Formatter):
    """One JSON object a record, with the record's own fields and those given as extra."""

    def format(self, record):
        entry = {
            "timestamp": datetime.now(timezone.utc).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "module": record.module,
            "function": record.funcName,
            "line": record.lineno,
        }
        for key in ("request_id", "trace_id", "duration_ms", "model_type"):
            if hasattr(record, key):
                entry[key] = getattr(record, key)
        return json.dumps(entry)


def log_event_ns():
    """A JSON event to a file, nanoseconds."""
    logger = logging.getLogger("bench")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    with tempfile.NamedTemporaryFile(suffix=".log") as target:
        handler = logging.FileHandler(target.name)
        handler.setFormatter(JsonFormatter())
        logger.addHandler(handler)
        extra = {
            "request_id": "0af7651916cd43dd8448eb211c80319c",
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "duration_ms": 12.5,
            "model_type": "conditional_diffusion",
        }
        figure = best_of(lambda: logger.info("answered", extra=extra), 20_000)
        logger.removeHandler(handler)
        handler.close()
    return figure


def main():
    registry = CollectorRegistry()
    counter = Counter("events", "Events.", ["kind"], registry=registry).labels("a")
    histogram = Histogram("duration", "Durations.", ["kind"], buckets=BOUNDS, registry=registry)
    child = histogram.labels("a")
    wide = CollectorRegistry()
    series = Counter("events", "Events.", ["kind", "place"], registry=wide)
    for i in range(10_000):
        series.labels("a", f"/v1/things/{i}").inc(i)
    print(json.dumps({
        "counter_ns": best_of(counter.inc, 200_000),
        "histogram_ns": best_of(lambda: child.observe(0.031), 200_000),
        "encode_ms": best_of(lambda: generate_latest(wide), 3) / 1e6,
        "log_ns": log_event_ns(),
    }))


main()
