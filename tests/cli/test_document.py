"""The run document that --json prints has exactly these fields, in every state."""

from __future__ import annotations

import re

from tests.support.project import Project
from tests.support.run_document import FIELDS

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def check(document: dict[str, object], state: str, *set_fields: str) -> None:
    """Check the fields, their order, and that the named ones and no other optional ones hold something."""
    assert list(document) == FIELDS
    assert document["state"] == state
    for name in ("submitted_at", "eta", "expires_at", "started_at", "finished_at", "retry_at"):
        value = document[name]
        assert value is None or TIME.fullmatch(str(value)), (name, value)
    optional = {"reason", "error", "retry_at", "revocation", "started_at", "finished_at", "worker", "eta", "key"}
    assert {name for name in optional if document[name] is not None} == set(set_fields)


def test_pending(project: Project) -> None:
    document = project.document(project.submit("unserved", "--key", "k1", "--in", "1h"))
    check(document, "PENDING", "key", "eta")
    assert document["trigger"] == "cli"
    assert "@" in document["submitted_by"]


def test_started(served: Project) -> None:
    run_id = served.submit("sleeps")
    served.wait_for_state(run_id, "STARTED")
    check(served.document(run_id), "STARTED", "started_at", "worker")
    served.cli("revoke", run_id, "--terminate").check()
    served.cli("wait", run_id).check(3)
    document = served.document(run_id)
    check(document, "REVOKED", "started_at", "worker", "finished_at", "reason", "revocation")
    assert document["reason"] == "terminated"
    assert list(document["revocation"]) == ["by", "comment", "at"]


def test_retry(served: Project) -> None:
    run_id = served.submit("retries")
    served.wait_for_state(run_id, "RETRY")
    document = served.document(run_id)
    check(document, "RETRY", "started_at", "worker", "error", "retry_at")
    served.cli("revoke", run_id, "--comment", "enough").check()
    document = served.document(run_id)
    check(document, "REVOKED", "started_at", "worker", "error", "finished_at", "reason", "revocation")
    assert document["revocation"]["comment"] == "enough"


def test_success(served: Project) -> None:
    done = served.cli("submit", "hello", "--wait", "--json", "-p", "count=2", "-p", "words=[a,1]").check()
    document = done.json
    assert document.pop("duplicate") is False
    check(document, "SUCCESS", "started_at", "worker", "finished_at")
    assert document["result"] == {"greeting": "Hello, world! Hello, world!", "words": ["a", 1]}
    assert document["tags"] == ["greeting"]
    assert document["id"] in done.stderr


def test_failure(served: Project) -> None:
    done = served.cli("submit", "fails", "--wait", "--json", "--quiet").check(1)
    document = done.json
    assert document.pop("duplicate") is False
    check(document, "FAILURE", "started_at", "worker", "finished_at", "reason", "error")
    assert list(document["error"]) == ["type", "message", "traceback"]
    assert document["error"]["message"] == "the coffee is out"


def test_revoked_while_it_waits(project: Project) -> None:
    run_id = project.submit("unserved")
    document = project.cli("revoke", run_id, "--json").check().json
    check(document, "REVOKED", "finished_at", "reason", "revocation")
