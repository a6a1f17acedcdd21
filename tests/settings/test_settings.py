"""What ``runner.yaml`` may say, and what is said when it is wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from runner.errors import InvalidSettings, NoProject
from runner.settings import SETTINGS, load_settings
from runner.settings.celery_settings import OWNED, owned


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "jobs.d").mkdir()
    return tmp_path


def write(project: Path, text: str) -> Path:
    (project / "runner.yaml").write_text(text, encoding="utf-8")
    return project


def complaints(project: Path, text: str, **environ: str) -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        load_settings(write(project, text), environ=environ)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    return caught.value.message.splitlines()


def test_without_a_file_everything_has_its_default(project: Path) -> None:
    settings = load_settings(project, environ={})
    assert settings.project == project
    assert settings.file is None
    assert settings.redis_url == "embedded"
    assert settings.namespace == "runner"
    assert settings.jobs_dir == (project / "jobs.d",)
    assert settings.python_path == (project,)
    assert settings.timezone == "UTC"
    assert settings.setup is None
    assert settings.retention.result == 86400.0
    assert settings.retention.history == settings.retention.key == 30 * 86400.0
    assert settings.retention.runs == 1000
    assert (settings.limits.params, settings.limits.result, settings.limits.traceback) == (65536, 1048576, 32768)
    worker = settings.worker
    assert (worker.concurrency, worker.queues, worker.lease) == (4, ("default",), 15.0)
    assert (worker.shutdown_grace, worker.remote_control) == (30.0, "safe")
    assert settings.state_dir == project / ".runner"
    assert settings.warnings == ()


def test_every_option_is_read(project: Path) -> None:
    (project / "more").mkdir()
    (project / "lib").mkdir()
    settings = load_settings(
        write(
            project,
            """
redis_url: redis://user:secret@host:6380/3
namespace: shop
jobs_dir: [jobs.d, more]
defaults: {queue: reports, retry: {max_retries: 2}}
python_path: [., lib]
setup: project.boot:setup
timezone: Europe/Berlin
retention: {result: 2h, history: 7d, runs: 50, key: 1d}
limits: {params: 1KiB, result: 2MiB, traceback: 4KiB}
worker: {concurrency: 2, queues: [a, b], lease: 5s, shutdown_grace: 1m, remote_control: full,
  recycle: {runs: 1000, memory: 300MiB}}
celery: {worker_send_task_events: true}
x-anything: [1]
""",
        ),
        environ={},
    )
    assert settings.file == project / "runner.yaml"
    assert settings.redis_url == "redis://user:secret@host:6380/3"
    assert settings.jobs_dir == (project / "jobs.d", project / "more")
    assert settings.python_path == (project, project / "lib")
    assert dict(settings.defaults) == {"queue": "reports", "retry": {"max_retries": 2}}
    assert settings.setup == "project.boot:setup"
    assert settings.timezone == "Europe/Berlin"
    assert settings.retention.result == 7200.0
    assert settings.limits.params == 1024
    assert settings.worker.queues == ("a", "b")
    assert settings.worker.remote_control == "full"
    assert (settings.worker.recycle.runs, settings.worker.recycle.memory) == (1000, 300 * 1024**2)
    assert dict(settings.celery) == {"worker_send_task_events": True}


@pytest.mark.parametrize("text", ["", "# nothing\n", "{}\n", "worker:\nretention: ~\n"])
def test_an_empty_file_and_null_mean_defaults(project: Path, text: str) -> None:
    assert load_settings(write(project, text), environ={}).worker.concurrency == 4


def test_all_faults_come_at_once_with_line_and_column(project: Path) -> None:
    found = complaints(project, "namespce: x\nworker:\n  concurrency: many\n  lease: 15\nretention: {result: 0s}\n")
    assert [line.split(": ")[0] for line in found] == [
        "runner.yaml:1:1",
        "runner.yaml:3:16",
        "runner.yaml:4:10",
        "runner.yaml:5:21",
    ]
    assert "did you mean namespace?" in found[0]
    assert "worker.lease: 15 has no unit, write 15s" in found[2]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("broker_url: amqp://\n", "has no host, write amqp://HOST:5672/VHOST"),
        ("durability: lokal\n", "is not one of local, replicated"),
        ("schedules: 1\n", "expected true or false"),
        ("concurrency: 4\n", "write worker: {concurrency: 4}"),
        ("[1, 2]\n", "expected options such as"),
        ("namespace: 'a b'\n", "use 1 to 64 letters"),
        ("namespace: a\nnamespace: b\n", "namespace"),
        ("timezone: Europe/Berln\n", "did you mean Europe/Berlin?"),
        ("timezone: ../../etc/passwd\n", "is not a time zone"),
        ("timezone: on\n", '"on" for text'),
        ("jobs_dir: []\n", "list at least one folder"),
        ("jobs_dir: 3\n", "expected a list of folders"),
        ("python_path: lib\n", "write [lib]"),
        ("python_path: [nowhere]\n", "there is no folder"),
        ("setup: boot\n", "write module:attribute"),
        ("worker: {queues: []}\n", "list at least one queue"),
        ("worker: {max_tasks_per_child: 10}\n", "write recycle: {runs: 10}"),
        ("worker: {recycle: 10}\n", "write {runs: 10}"),
        ("worker: {recycle: {runs: 0}}\n", "write 1 to 1000000000"),
        ("worker: {recycle: {memory: 300M}}\n", "write 300MiB"),
        ("worker: {recycle: {memory: 1MiB}}\n", "write 32MiB to 1024GiB"),
        ("worker: {remote_control: some}\n", "is not one of safe, full, none"),
        ("limits: {params: 64}\n", "64 has no unit"),
        ("defaults: [1]\n", "expected a mapping of options"),
        ("redis_url: !!python/object:os.system x\n", "tag"),
    ],
)
def test_a_wrong_value_says_what_to_write(project: Path, text: str, part: str) -> None:
    found = complaints(project, text)
    assert part in found[0], found
    assert found[0].startswith("runner.yaml:")


def test_a_missing_jobs_dir_is_no_project(project: Path) -> None:
    with pytest.raises(NoProject, match=r"no folder .*elsewhere") as caught:
        load_settings(write(project, "jobs_dir: elsewhere\n"), environ={})
    assert "runner init" in str(caught.value.hint)


def test_a_jobs_dir_that_is_a_file_is_refused(project: Path) -> None:
    (project / "one.yaml").touch()
    assert "is not a folder" in complaints(project, "jobs_dir: one.yaml\n")[0]


@pytest.mark.parametrize("name", ["celery.py", "runner.py"])
def test_a_file_that_would_hide_a_package_is_refused_by_name(project: Path, name: str) -> None:
    (project / "lib").mkdir()
    (project / "lib" / name).touch()
    (line,) = complaints(project, "python_path: [., lib]\n")
    assert line.startswith("runner.yaml:1:18: python_path[1]: ")
    assert str(project / "lib" / name) in line
    assert "rename" in line


def test_a_file_that_anybody_can_write_is_refused(project: Path) -> None:
    write(project, "namespace: x\n").joinpath("runner.yaml").chmod(0o666)
    with pytest.raises(InvalidSettings, match="anybody can write") as caught:
        load_settings(project, environ={})
    assert "chmod o-w" in str(caught.value.hint)


def test_bytes_that_are_no_text_are_a_problem_with_a_place(project: Path) -> None:
    (project / "runner.yaml").write_bytes(b"namespace: \xff\n")
    with pytest.raises(InvalidSettings, match=r"runner.yaml:1:12: .*UTF-8"):
        load_settings(project, environ={})


def test_the_schema_has_every_option_with_help() -> None:
    schema = SETTINGS.schema()
    assert set(schema["properties"]) == {
        *(
            "redis_url",
            "broker_url",
            "namespace",
            "jobs_dir",
            "defaults",
            "python_path",
            "setup",
            "timezone",
            "retention",
            "limits",
        ),
        *("schedules", "calendars", "worker", "web", "celery", "durability", "trusted_folders", "state_dir"),
        "archive_url",
    }
    assert all(option["description"] for option in schema["properties"].values())
    assert schema["properties"]["jobs_dir"]["default"] == "jobs.d"
    assert schema["properties"]["worker"]["properties"]["lease"]["default"] == "15s"


def test_reading_settings_imports_neither_celery_nor_redis(project: Path) -> None:
    code = (
        "import sys; from runner.settings import load_settings; load_settings(sys.argv[1], environ={});"
        "print([name for name in ('celery', 'kombu', 'redis', 'zoneinfo', 'click') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, project], capture_output=True, text=True, check=True, env={})
    assert done.stdout.strip() == "[]"


# -- the celery section


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("accept_content", "JSON only"),
        ("task_serializer", "JSON only"),
        ("result_serializer", "JSON only"),
        ("event_serializer", "JSON only"),
        ("result_accept_content", "JSON only"),
        ("task_acks_late", "set delivery of a job"),
        ("task_track_started", "promises"),
        ("worker_prefetch_multiplier", "prefetches nothing"),
        ("task_ignore_result", "promises"),
        ("task_always_eager", "runner run"),
        ("task_annotations", "jobs.d"),
        ("include", "module:attribute"),
        ("imports", "module:attribute"),
        ("result_backend", "ledger"),
        ("result_backend_transport_options", "ledger"),
        ("result_expires", "retention.result"),
        ("broker_url", "redis_url"),
        ("broker_transport", "redis_url"),
        ("broker_transport_options", "redis_url"),
        ("broker_connection_retry", "redis_url"),
        ("redis_socket_timeout", "redis_url"),
        ("worker_pool_restarts", "promises"),
        ("worker_deduplicate_successful_tasks", "promises"),
        ("worker_concurrency", "worker.concurrency"),
        ("worker_max_tasks_per_child", "worker.recycle.runs"),
        ("worker_max_memory_per_child", "worker.recycle.memory"),
        ("worker_enable_remote_control", "worker.remote_control"),
        ("task_default_queue", "worker.queues"),
        ("task_queues", "worker.queues"),
        ("task_routes", "worker.queues"),
        ("task_time_limit", "timeout"),
        ("task_soft_time_limit", "soft_timeout"),
        ("enable_utc", "timezone"),
        ("timezone", "top of runner.yaml"),
        ("beat_schedule", "beat"),
        ("security_key", "JSON only"),
        ("mongodb_backend_settings", "ledger"),
    ],
)
def test_a_setting_that_the_runner_owns_is_refused_with_the_remedy(project: Path, name: str, remedy: str) -> None:
    (line,) = complaints(project, f"celery:\n  {name}: 1\n")
    assert line.startswith(f"runner.yaml:2:3: celery.{name}: is owned by the runner: ")
    assert remedy in line


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("worker_send_task_evnts", "worker_send_task_events"),
        ("CELERYD_LOG_FORMAT", "worker_log_format"),
        ("WORKER_LOG_FORMAT", "worker_log_format"),
    ],
)
def test_an_unknown_celery_setting_says_what_was_meant(project: Path, name: str, guess: str) -> None:
    (line,) = complaints(project, f"celery: {{{name}: 1}}\n")
    assert f"did you mean {guess}?" in line


# -- variables


def test_variables_override_the_file(project: Path) -> None:
    for name in ("a", "b"):
        (project / name).mkdir()
    environ = {
        "RUNNER_REDIS_URL": "redis://other/1",
        "RUNNER_NAMESPACE": "staging",
        "RUNNER_JOBS_DIR": f"a{os.pathsep}b",
        "RUNNER_TIMEZONE": "Asia/Tokyo",
        "RUNNER_WORKER_CONCURRENCY": "9",
        "RUNNER_WORKER_RECYCLE_RUNS": "7",
        "RUNNER_WORKER_QUEUES": "x, y",
        "RUNNER_RETENTION_RESULT": "3h",
        "RUNNER_LIMITS_PARAMS": "2KiB",
    }
    settings = load_settings(write(project, "namespace: x\nworker: {lease: 3s}\n"), environ=environ)
    assert settings.redis_url == "redis://other/1"
    assert settings.namespace == "staging"
    assert settings.jobs_dir == (project / "a", project / "b")
    assert settings.timezone == "Asia/Tokyo"
    assert (settings.worker.concurrency, settings.worker.queues, settings.worker.lease) == (9, ("x", "y"), 3.0)
    assert settings.worker.recycle.runs == 7
    assert settings.retention.result == 10800.0
    assert settings.limits.params == 2048


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("RUNNER_WORKER_CONCURRENCY", "many", "expected a whole number"),
        ("RUNNER_WORKER_LEASE", "15", "15 has no unit, write 15s"),
        ("RUNNER_REDIS_URL", "", "set but empty"),
        ("RUNNER_REDIS_URL", "redis://", "has no host"),
        ("RUNNER_NAMESPACE", "a b", "use 1 to 64"),
        ("RUNNER_BROKER_URL", "amqp://x?cafile=ca.pem", "has cafile in a URL without TLS"),
    ],
)
def test_a_wrong_variable_is_named(project: Path, name: str, value: str, part: str) -> None:
    (line,) = complaints(project, "namespace: x\nworker: {lease: 3s}\n", **{name: value})
    assert line.startswith(f"{name}: ")
    assert part in line


def test_an_unknown_variable_is_a_warning_with_a_guess(project: Path) -> None:
    environ = {"RUNNER_REDIS_ULR": "x", "RUNNER_OS": "Linux", "RUNNER_TEMP": "/tmp", "RUNNER_EMBEDDED": "1"}
    (warning,) = load_settings(project, environ=environ).warnings
    assert warning == "RUNNER_REDIS_ULR is not a variable of the runner, did you mean RUNNER_REDIS_URL?"


def test_runner_embedded_forbids_the_server(project: Path) -> None:
    assert load_settings(project, environ={"RUNNER_EMBEDDED": "0"}).embedded_allowed is False
    with pytest.raises(InvalidSettings, match="'no' is not 0 or 1"):
        load_settings(project, environ={"RUNNER_EMBEDDED": "no"})


def test_what_the_runner_owns_are_settings_that_celery_has() -> None:
    from celery.app.defaults import NAMESPACES, flatten

    assert set(OWNED) <= {name for name, _ in flatten(NAMESPACES)}


def test_a_setting_that_the_app_fixes_can_not_be_given(project: Path) -> None:
    from runner.app.factory import _owned
    from runner.catalog.catalog import load_catalog

    (project / "runner.yaml").write_text("redis_url: redis://localhost/0\n", encoding="utf-8")
    settings = load_settings(project, environ={})
    passed_on = {"worker_send_task_events", "worker_hijack_root_logger"}
    fixed = set(_owned(settings, load_catalog(settings))) - passed_on
    assert {name for name in fixed if owned(name) is None} == set()


def test_the_file_of_an_environment_is_merged_over(project: Path) -> None:
    (project / "runner.yaml").write_text(
        "namespace: base\nworker: {concurrency: 2, lease: 5s}\nlimits: {log: 2MiB}\n"
        "defaults: {queue: a, retry: {max_retries: 1, delay: 1s}}\ntimezone: Europe/Berlin\n"
    )
    (project / "runner.prod.yaml").write_text(
        "namespace: prod\nworker: {concurrency: 8}\nlimits: {log: null}\ndefaults: {retry: {delay: 5s}}\n"
        "timezone: null\nx-note: ignored\n"
    )
    settings = load_settings(project, environ={"RUNNER_ENV": "prod", "RUNNER_WORKER_LEASE": "9s"})
    assert (settings.namespace, settings.timezone, settings.limits.log) == ("prod", "UTC", 1024**2)
    assert (settings.worker.concurrency, settings.worker.lease) == (8, 9.0)
    assert settings.defaults == {"queue": "a", "retry": {"max_retries": 1, "delay": "5s"}}
    assert settings.environment == "prod"
    assert settings.files == (project / "runner.yaml", project / "runner.prod.yaml")
    assert load_settings(project, environ={}).namespace == "base"


def test_faults_of_both_files_are_told_where_they_stand(project: Path) -> None:
    (project / "runner.prod.yaml").write_text("worker:\n  concurrency: many\n  leese: 5s\n")
    lines = complaints(project, "namespace: a b\nworker: {concurrency: 2, lease: 5}\n", RUNNER_ENV="prod")
    assert [line.split(": ")[0] for line in lines] == [
        "runner.yaml:1:12",
        "runner.yaml:2:33",
        "runner.prod.yaml:2:16",
        "runner.prod.yaml:3:3",
    ]


def test_the_file_of_an_environment_is_read_as_strictly(project: Path) -> None:
    (project / "runner.prod.yaml").write_text("worker: {lease: 5s}\nworker: {lease: 6s}\n")
    (line,) = complaints(project, "namespace: x\n", RUNNER_ENV="prod")
    assert line.startswith("runner.prod.yaml:2:1: worker: is in line 1 already")


@pytest.mark.parametrize(
    ("name", "part"),
    [("prod", "RUNNER_ENV: there is no "), ("", "set but empty"), ("../x", "is not the name of an environment")],
)
def test_an_environment_without_a_file_is_refused(project: Path, name: str, part: str) -> None:
    with pytest.raises(InvalidSettings, match=part) as caught:
        load_settings(project, environ={"RUNNER_ENV": name})
    assert caught.value.exit_code == 2


def test_the_file_of_an_environment_that_anybody_can_write_is_refused(project: Path) -> None:
    file = project / "runner.prod.yaml"
    file.write_text("namespace: x\n")
    file.chmod(0o666)
    with pytest.raises(InvalidSettings, match="anybody can write to it"):
        load_settings(project, environ={"RUNNER_ENV": "prod"})
