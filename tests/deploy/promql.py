"""Parse the queries of Prometheus: names of metrics and of the labels that they select or group by."""

from __future__ import annotations

import re

from prometheus_client import CollectorRegistry

from stream.worker.metrics import WorkerMetrics
from training.sidecar.metrics import SidecarMetrics

NAME = re.compile(r"\b(faultline_[a-z_]+)")
SELECTOR = re.compile(r"\b(faultline_[a-z_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"')
GROUPING = re.compile(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)")
LEGEND = re.compile(r"\{\{\s*(?:\$labels\.)?(\w+)\s*\}\}")
OF_PROMETHEUS = {"job", "instance", "le", "alertname", "alertstate", "severity"}
KINDS = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


def series(registry: CollectorRegistry) -> dict[str, set[str]]:
    """Return the labels of every scraped series by name, including metrics that have no value yet."""
    found = {}
    for collector in list(registry._collector_to_names):
        for family in collector.describe():
            for suffix in KINDS[family.type]:
                found[family.name + suffix] = set(collector._labelnames) | ({"le"} if suffix == "_bucket" else set())
    return found


WORKER = series(WorkerMetrics().registry)
TRAINER = series(SidecarMetrics().registry)
ALL = {name: WORKER.get(name, set()) | TRAINER.get(name, set()) for name in WORKER | TRAINER}


def unknown(query: str, legend: str = "") -> list[str]:
    """Return metrics that no Faultline process exposes, and labels that none of the query's metrics has."""
    names = set(NAME.findall(query))
    wrong = sorted(names - set(ALL))
    labels = OF_PROMETHEUS.union(*(ALL.get(name, set()) for name in names))
    used = {label.strip() for group in GROUPING.findall(query) for label in group.split(",") if label.strip()}
    used |= {label for _, matchers in SELECTOR.findall(query) for label, _ in MATCHER.findall(matchers)}
    used |= set(LEGEND.findall(legend))
    return wrong + sorted(f"{query}: label {label}" for label in used - labels)
