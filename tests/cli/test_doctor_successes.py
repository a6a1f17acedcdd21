"""``runner doctor`` names jobs that do not succeed."""

from __future__ import annotations

from tests.support.deadline import wait_until
from tests.support.project import Project


def test_the_doctor_names_a_job_that_does_not_succeed(project: Project) -> None:
    job = "jobs:\n  silent: {task: 'clijobs:fails', queue: unserved, alert_if_no_success: 1s}\n"
    try:
        project.write({"jobs.d/silent.yaml": job})

        def found() -> list[dict[str, str]]:
            checks = project.cli("doctor", "--json").check(1).json["checks"]
            return [check for check in checks if check["name"] == "successes"]

        assert "has never run" in found()[0]["what"]
        project.submit("silent")
        assert wait_until(lambda: [check for check in found() if check["level"] == "problem"])
    finally:
        (project.path / "jobs.d/silent.yaml").unlink()
