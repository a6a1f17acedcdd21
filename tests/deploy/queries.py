"""What a ScaledObject asks Prometheus, answered by Prometheus itself."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from tests.deploy.manifests import Document
from tests.support.need import need

CASES: dict[str, tuple[dict[str, int], int | None]] = {
    "runs wait, and workers are busy": (
        {'runner_queue_waiting{queue="default"}': 10, 'runner_worker_running{worker="a"}': 3, "runner_info": 1},
        13,
    ),
    "another queue is not theirs": ({'runner_queue_waiting{queue="other"}': 10, "runner_info": 1}, 0),
    "no worker, and nothing waits": ({"runner_info": 1}, 0),
    "only busy workers": ({'runner_worker_running{worker="a"}': 4, "runner_info": 1}, 4),
    "two replicas of web report the same": (
        {
            f'{series}instance="{web}"}}': value
            for web in "ab"
            for series, value in {
                'runner_queue_waiting{queue="default",': 10,
                'runner_worker_running{worker="a",': 3,
                'runner_worker_running{worker="b",': 4,
                "runner_info{": 1,
            }.items()
        },
        17,
    ),
    # Not zero, which would end workers while runs wait.
    "the metrics are away": ({}, None),
}
"""The series that there are, and the number of runs that workers are needed for."""


def check_scaling(scaled: Document, folder: Path) -> None:
    """Check how many workers it wants for the cases above, and that it names an answer that is missing an error."""
    [trigger] = scaled["spec"]["triggers"]
    assert trigger["metadata"]["ignoreNullValues"] == "false"
    # Without a fallback, the autoscaler leaves the number as it is when there is no answer.
    assert "fallback" not in scaled["spec"]
    rule = {"record": "wanted", "expr": trigger["metadata"]["query"]}
    tests = [
        {
            "name": name,
            "interval": "1m",
            "input_series": [{"series": key, "values": str(value)} for key, value in series.items()],
            "promql_expr_test": [
                {
                    "expr": "wanted",
                    "eval_time": "0m",
                    "exp_samples": [] if wanted is None else [{"labels": "wanted", "value": wanted}],
                }
            ],
        }
        for name, (series, wanted) in CASES.items()
    ]
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": [{"name": "keda", "rules": [rule]}]}), "utf-8")
    (folder / "tests.yaml").write_text(yaml.safe_dump({"rule_files": ["rules.yaml"], "tests": tests}), "utf-8")
    words = [need("promtool"), "test", "rules", str(folder / "tests.yaml")]
    result = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
