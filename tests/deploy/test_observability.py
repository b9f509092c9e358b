"""Dashboards and alerts refer to metrics that exist, and every metric of Faultline is shown somewhere."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from stream.contract import DeadLetterReason
from tests.deploy.promql import ALL, NAME, TRAINER, WORKER, unknown

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "faultline.json"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
REPOSITORY = DEPLOY.parent


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [panel for panel in found if panel["type"] != "row"]


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


PANELS, RULES = panels(), alerts()


def test_series_are_named_as_prometheus_scrapes_them() -> None:
    assert WORKER["faultline_windows_total"] == {"outcome"}
    assert WORKER["faultline_batch_seconds_bucket"] == {"le"}
    assert TRAINER["faultline_store_windows"] == {"labelled"}
    assert unknown('sum by (kind) (faultline_windows_total{outcome="judged"}) + faultline_windows') == [
        "faultline_windows",
        'sum by (kind) (faultline_windows_total{outcome="judged"}) + faultline_windows: label kind',
    ]


@pytest.mark.parametrize("panel", PANELS, ids=[panel["title"] for panel in PANELS])
def test_every_panel_shows_metrics_and_labels_that_exist(panel: dict[str, Any]) -> None:
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"]["uid"] == "faultline"
        assert NAME.search(target["expr"]) or "ALERTS" in target["expr"]
        if "ALERTS" not in target["expr"]:
            assert unknown(target["expr"], target["legendFormat"]) == []
    assert panel["description"].strip()


@pytest.mark.parametrize("rule", RULES, ids=[rule["alert"] for rule in RULES])
def test_every_alert_is_about_metrics_that_exist_and_says_what_to_do(rule: dict[str, Any]) -> None:
    text = " ".join(rule["annotations"].values())
    assert NAME.search(rule["expr"]) or re.search(r"\bup\{", rule["expr"])
    assert unknown(rule["expr"], text) == []
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert len(rule["annotations"]["action"]) > 40


def test_what_alerts_name_as_commands_and_settings_exists() -> None:
    from faultline.cli import app
    from faultline.cli.commands import register
    from stream.settings import Settings

    if not app.registered_commands:
        register(app)
    commands = {one.name or one.callback.__name__ for one in app.registered_commands if one.callback}
    groups = {
        group.name: {one.name or one.callback.__name__ for one in group.typer_instance.registered_commands}  # type: ignore[union-attr]
        for group in app.registered_groups
    }
    text = ALERTS.read_text(encoding="utf-8")
    for first, second in re.findall(r"(?<![/.\w])faultline (\w+)(?: (\w+))?", re.sub(r"\s+", " ", text)):
        assert first in commands or second in groups.get(first, ()), f"faultline {first} {second}"
    for name in re.findall(r"FAULTLINE_(\w+)", text):
        assert name.lower() in Settings.model_fields


def test_every_metric_can_be_seen_on_the_dashboard() -> None:
    shown = {name for panel in PANELS for target in panel["targets"] for name in NAME.findall(target["expr"])}
    families = {re.sub("_(bucket|sum|count)$", "", name) for name in ALL}
    assert families - {re.sub("_(bucket|sum|count)$", "", name) for name in shown} == set()


def test_panels_have_titles_of_their_own_and_do_not_overlap() -> None:
    assert len({panel["title"] for panel in PANELS}) == len(PANELS)
    taken: set[tuple[int, int]] = set()
    for panel in PANELS:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


def test_prometheus_finds_the_services_of_the_compose_file_on_their_ports() -> None:
    scraped = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))["scrape_configs"]
    services = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    found = {job["job_name"]: job["dns_sd_configs"][0] for job in scraped if "dns_sd_configs" in job}
    assert found["faultline-worker"]["port"] == 8066
    assert found["faultline-trainer"]["port"] == 8067
    assert {name for job in found.values() for name in job["names"]} <= set(services)


def test_the_dashboard_and_the_provisioning_name_one_data_source() -> None:
    provisioned = yaml.safe_load(
        (DEPLOY / "grafana" / "provisioning" / "datasources" / "prometheus.yml").read_text(encoding="utf-8")
    )
    assert [one["uid"] for one in provisioned["datasources"]] == ["faultline"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool (of Prometheus) is not installed")
def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    run = subprocess.run(
        ["promtool", "test", "rules", "alerts_test.yml"],
        cwd=ALERTS.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_runbook_knows_every_alert_and_every_reason_of_a_dead_letter() -> None:
    runbook = (REPOSITORY / "docs" / "how-to" / "operate.md").read_text(encoding="utf-8")
    assert [rule["alert"] for rule in RULES if rule["alert"] not in runbook] == []
    assert [reason for reason in get_args(DeadLetterReason) if f"`{reason}`" not in runbook] == []
