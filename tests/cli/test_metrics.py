"""Metrics: what is counted, that it survives, and that dashboard and alerts speak of what there is."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.jobs import FILES
from tests.support.need import need
from tests.support.project import Project

DEPLOY = Path(__file__).parents[2] / "deploy"
JOBS = """jobs:
  hello: {task: "clijobs:hello", alert_if_no_success: 1h, schedule: "0 2 * * *"}
  fails: {task: "clijobs:fails", alert_if_no_success: 1h, retry: {max_retries: 1, delay: 10ms}}
"""
Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def at(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


def test_what_happened_is_counted_and_survives(make_project: Callable[..., Project], tmp_path: Path) -> None:
    project = make_project(JOBS, FILES)
    with project.worker():
        hello = project.cli("submit", "hello", "--wait").check().id
        project.cli("submit", "fails", "--wait").check(1)
        project.cli("pause", "fails").check()
        text = project.cli("metrics").check().stdout
    found = samples(text)
    assert at(found, "runner_runs_total", job="hello", state="SUCCESS", reason="") == 1
    assert at(found, "runner_runs_total", job="fails", state="FAILURE", reason="exception") == 1
    assert at(found, "runner_submissions_total", job="fails", trigger="cli") == 1
    assert at(found, "runner_retries_total", job="fails") == 1
    assert at(found, "runner_run_seconds_count", job="hello") == 1
    assert at(found, "runner_run_seconds_bucket", job="hello", le="+Inf") == 1
    assert at(found, "runner_wait_seconds_count", job="fails") == 1
    assert at(found, "runner_success_overdue", job="hello") == 0
    assert at(found, "runner_success_deadline_seconds", job="fails") == 3600
    assert at(found, "runner_paused", job="fails") == 1
    assert at(found, "runner_workers", state="running") == 1
    assert at(found, "runner_queue_workers", queue="default") == 1
    assert at(found, "runner_schedule_lag_seconds", job="hello") == 0
    # Nothing ticks here.
    assert at(found, "runner_schedule_unseen", job="hello") == 1
    assert (at(found, "runner_last_success_timestamp_seconds", job="hello") or 0) > 1e9
    assert at(found, "runner_last_success_timestamp_seconds", job="fails") is None
    # What may come is there from the beginning, or Prometheus would not see the first failure rise.
    assert at(found, "runner_runs_total", job="hello", state="FAILURE", reason="timeout") == 0
    assert at(found, "runner_retries_total", job="hello") == 0
    assert at(found, "runner_lost_attempts_total", job="hello") == 0
    assert at(found, "runner_redeliveries_total", job="hello") == 0
    # Runs are forgotten, counts stay.
    project.cli("tick").check()
    project.cli("forget", hello).check()
    target = tmp_path / "runner.prom"
    project.cli("metrics", "--output", target).check()
    again = samples(target.read_text())
    assert at(again, "runner_runs_total", job="hello", state="SUCCESS", reason="") == 1
    assert at(again, "runner_schedule_unseen", job="hello") == 0
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".runner.prom")] == []
    assert project.cli("metrics", "--output", tmp_path / "none" / "x").check(2).stderr.startswith("error: ")


def test_counts_survive_a_restart_of_redis_and_the_end_of_all_workers(
    make_embedded_project: Callable[..., Project],
) -> None:
    project = make_embedded_project(JOBS, FILES)
    project.cli("up", "-d").check()
    project.cli("submit", "hello", "--wait").check()
    before = samples(project.cli("metrics").check().stdout)
    project.cli("down").check()
    after = samples(project.cli("metrics").check().stdout)
    kept = ("_total", "_bucket", "_count", "_sum", "_timestamp_seconds")
    assert at(after, "runner_runs_total", job="hello", state="SUCCESS", reason="") == 1
    for key, value in before.items():
        if key[0].endswith(kept):
            assert after[key] == value, key


def test_a_job_that_never_succeeded_becomes_overdue(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS.replace("alert_if_no_success: 1h", "alert_if_no_success: 1s"), FILES)
    run_id = project.submit("hello")
    client = project.redis()
    client.zadd(f"{project.namespace}:job:hello:PENDING", {run_id: 1})
    client.close()
    found = samples(project.cli("metrics").check().stdout)
    assert at(found, "runner_success_overdue", job="hello") == 1
    assert at(found, "runner_success_overdue", job="fails") == 0


def test_dashboard_and_alerts_speak_of_metrics_that_there_are(make_project: Callable[..., Project]) -> None:
    project = make_project(JOBS, FILES)
    project.submit("hello")
    text = project.cli("metrics").check().stdout
    known = set(re.findall(r"^# TYPE (\w+) ", text, re.MULTILINE))
    page = (DEPLOY.parent / "docs" / "how-to" / "metrics.md").read_text()
    assert known - {"runner_info"} <= set(re.findall(r"`(runner_\w+)`", page))
    rules = yaml.safe_load((DEPLOY / "prometheus" / "runner.rules.yml").read_text())
    dashboard = json.loads((DEPLOY / "grafana" / "runner.json").read_text())
    expressions = [rule["expr"] for group in rules["groups"] for rule in group["rules"]]
    expressions += [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    for expression in expressions:
        for name in re.findall(r"runner_\w+", expression):
            assert {name, re.sub(r"_(bucket|sum|count)$", "", name)} & known, (name, expression)


def test_promtool_accepts_the_rules_and_the_metrics(make_project: Callable[..., Project]) -> None:
    promtool = need("promtool")  # of Debian's package prometheus
    subprocess.run([promtool, "check", "rules", DEPLOY / "prometheus" / "runner.rules.yml"], check=True)
    project = make_project(JOBS, FILES)
    project.submit("hello")
    text = project.cli("metrics").check().stdout
    done = subprocess.run([promtool, "check", "metrics"], input=text, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_fires_when_it_should() -> None:
    cases = DEPLOY / "prometheus" / "runner.rules.test.yml"
    rules = yaml.safe_load((DEPLOY / "prometheus" / "runner.rules.yml").read_text())
    alerts = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    well, wrong = yaml.safe_load(cases.read_text())["tests"]
    assert {alert_test["alertname"] for alert_test in well["alert_rule_test"]} == alerts
    assert {alert_test["alertname"] for alert_test in wrong["alert_rule_test"] if alert_test["exp_alerts"]} == alerts
    done = subprocess.run([need("promtool"), "test", "rules", cases.name], cwd=cases.parent, check=False)
    assert done.returncode == 0


def test_prometheus_reads_each_query_of_the_dashboard(tmp_path: Path) -> None:
    dashboard = json.loads((DEPLOY / "grafana" / "runner.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "5m")}
        for number, query in enumerate(queries)
    ]
    (tmp_path / "queries.yml").write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    done = subprocess.run([need("promtool"), "check", "rules", tmp_path / "queries.yml"], check=False)
    assert done.returncode == 0
