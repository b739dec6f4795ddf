"""
Counters for operators, in Prometheus' text format.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_ARRIVALS = (("put", "ok"), ("commit", "ok"))
"""Calls of backends by which a blob came to be there."""
_BUCKETS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 30, 120)


class Metrics:
    """
    What is counted; labels are routes, methods and statuses, never ids or names.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "gateway_requests_total",
            "Requests answered",
            ("method", "route", "status"),
            registry=self.registry,
        )
        self.duration = Histogram(
            "gateway_request_duration_seconds",
            "Time to answer a request, its body included",
            ("method", "route"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.received_bytes = Counter(
            "gateway_received_bytes", "Plaintext bytes durably accepted", registry=self.registry
        )
        self.damaged_reads = Counter(
            "gateway_damaged_reads",
            "Reads ended because bytes at rest were damaged or missing",
            registry=self.registry,
        )
        self.backend_calls = Counter(
            "gateway_backend_calls",
            "Calls of storage backends, all attempts of one being one",
            ("kind", "operation", "outcome"),
            registry=self.registry,
        )
        self.backend_duration = Histogram(
            "gateway_backend_call_duration_seconds",
            "Time that a call of a storage backend took, waits included",
            ("kind", "operation"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.stored = Counter(
            "gateway_recordings_stored", "Recordings that came whole", registry=self.registry
        )
        self.erased = Counter(
            "gateway_recordings_erased", "Recordings whose erasure came to its end", registry=self.registry
        )
        self.erase_ms = Counter(
            "gateway_erasure_delay_ms",
            "Milliseconds from the request of those erasures to the end of the key, added up",
            registry=self.registry,
        )
        self.erasures = Counter("gateway_erasures", "Recordings erased by request", registry=self.registry)
        self.expired = Counter("gateway_expired", "Recordings that expired", registry=self.registry)
        self.retention_stopped = Gauge(
            "gateway_retention_stopped", "1 while expiry waits for an operator", registry=self.registry
        )
        self.accounts_stopped = Gauge(
            "gateway_unused_accounts_stopped",
            "1 while the end of unused accounts waits for an operator",
            registry=self.registry,
        )
        self.mails = Counter(
            "gateway_mails", "Tries to send a notice by e-mail", ("outcome",), registry=self.registry
        )
        self.audit_flaws = Counter(
            "gateway_audit_flaws",
            "Entries of the audit log that were found changed or missing",
            registry=self.registry,
        )
        self.jobs = Gauge(
            "gateway_jobs", "Durable jobs by kind and state", ("kind", "state"), registry=self.registry
        )

    def day_readings(self) -> dict[tuple[str, str], int]:
        """
        Return what is kept by day, as it was counted since the process started: by what it is of and a label.
        """
        plain = {
            "stored": self.stored,
            "bytes": self.received_bytes,
            "erased": self.erased,
            "expired": self.expired,
            "erase-ms": self.erase_ms,
        }
        found = {(what, ""): int(_total(counter)) for what, counter in plain.items()}
        for metric in self.backend_calls.collect():
            for sample in metric.samples:
                labels = sample.labels
                if sample.name.endswith("_total") and (labels["operation"], labels["outcome"]) in _ARRIVALS:
                    key = ("placed", labels["kind"])
                    found[key] = found.get(key, 0) + int(sample.value)
        return found

    def backend_outcomes(self) -> dict[str, dict[str, int]]:
        """
        Return how the calls of each kind of backend ended since the process started: an outcome, and how often.
        """
        found: dict[str, dict[str, int]] = {}
        for metric in self.backend_calls.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total"):
                    outcomes = found.setdefault(sample.labels["kind"], {})
                    outcome = sample.labels["outcome"]
                    outcomes[outcome] = outcomes.get(outcome, 0) + int(sample.value)
        return found

    def render(self) -> bytes:
        """
        Return everything as text.
        """
        return generate_latest(self.registry)


def _total(counter: Counter) -> float:
    return next(sample.value for sample in next(iter(counter.collect())).samples)
