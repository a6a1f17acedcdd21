"""Where a placeholder of a submitter may stand: an allow rule, by a table of places."""

from __future__ import annotations

import functools
import unittest.mock
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.app.target import TargetError, load_target
from runner.attempt.job_task import refuse_misplaced
from runner.attempt.run_values import ParamsRefused, expand_kwargs
from runner.authoring.advice import advice_for
from runner.catalog.catalog import load_files
from runner.catalog.steps import item_schema
from runner.model.job import JobSpec
from runner.model.param import PARAMS, Param
from runner.model.template import Sources
from runner.params.harmless import is_harmless, is_harmless_pattern, is_number
from runner.params.placement import misplaced
from runner.params.variables import is_safe_name
from runner.tasks import http, notify, python, shell

PARAMETERS = {
    "text": {"type": "string"},
    "number": {"type": "number"},
    "whole": {"type": "integer"},
    "flag": {"type": "boolean"},
    "region": {"enum": ["eu", "us"]},
    "dashed": {"enum": ["-rf", "us"]},
    "day": {"type": "string", "format": "date"},
    "key": {"type": "string", "format": "uuid"},
    "mail": {"type": "string", "format": "email"},
    "name": {"type": "string", "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$"},
    "loose": {"type": "string", "pattern": "^[a-z -]+$"},
    "open": {"type": "string", "pattern": "[a-z]+"},
    "union": {"type": ["integer", "string"]},
    "any": {},
    "dates": {"type": "array", "items": {"type": "string", "format": "date"}},
}

SHELL, PYTHON = "runner.tasks.shell:run", "runner.tasks.python:script"
HTTP, HOOK, MAIL = "runner.tasks.http:request", "runner.tasks.notify:webhook", "runner.tasks.notify:email"


def job(task: str, kwargs: dict[str, Any], **options: Any) -> JobSpec:
    params = PARAMS.read(PARAMETERS, (), lambda *_, **__: None)
    return JobSpec(name="a", task=task, params=params, kwargs=kwargs, **options)


def places(task: str, kwargs: dict[str, Any], **options: Any) -> list[tuple[str | int, ...]]:
    return [found.path for found in misplaced(job(task, kwargs, **options))]


COMMANDS_ALLOWED: list[list[Any]] = [
    ["./report", "--", "${params.text}"],
    ["du", "-sh", "--", "docs", "${params.text}", "${params.any}"],
    ["report", "--day", "${params.day}"],
    ["report", "${params.number}", "${ params.whole }", "${params.flag}", "${params.region}", "${params.key}"],
    ["report", "${params.name}", "${run.id}", "${run.slot}"],
    ["./backup.sh", "--", "${params.text}"],
    ["python3", "report.py", "--", "${params.text}"],
    ["/usr/bin/python3.11", "./report.py", "-v", "--", "${params.text}"],
    ["sh", "-c", 'echo "$1"', "--", "${params.text}"],
    ["bash", "-euc", 'echo "$1"', "--", "${params.text}"],
    ["echo", "$${params.text}", "${env.HOME}"],
    ["bash", "-xeuc", 'echo "$1"', "script", "--", "${params.text}"],
    ["python3", "-Ic", "import sys", "--", "${params.text}"],
    ["git", "log", "${params.name}", "--", "${params.text}"],
    ["tar", "-czf", "${params.name}", "docs"],
    ["./tool", "--eval", "${params.whole}"],
    ["./tool", "--exec", "now", "${params.name}"],
    ["report", "stack", "view", "task", "${params.name}"],
    ["ip", "addr", "show", "${params.name}"],
    ["rclone", "copy", "--filter", "${params.name}", "a", "b"],
]
COMMANDS_REFUSED: list[list[Any]] = [
    ["${params.text}", "-x"],
    ["${params.region}"],
    ["./${params.region}.sh"],
    ["report", "${params.text}"],
    ["report", "--day", "${params.text}"],
    ["report", "--day=${params.day}"],
    ["report", "--", "out-${params.day}"],
    ["report", "${params.dashed}"],
    ["report", "${params.mail}"],
    ["report", "${params.loose}"],
    ["report", "${params.open}"],
    ["report", "${params.union}"],
    ["report", "${params.any}"],
    ["report", "${params.dates}"],
    ["report", ["${params.day}"]],
    ["bash", "-ec", "echo ${params.name}"],
    ["sh", "-c", "echo ${run.id}"],
    ["sh", "-c", "--", "${params.text}"],
    ["bash", "-c", "-e", "--", "${params.text}"],
    ["env", "LC_ALL=C", "sh", "-c", "echo ${params.name}"],
    ["env", "${params.text}"],
    ["env", "--", "${params.text}"],
    ["env", "-S", "${params.name}"],
    ["python3", "-Ic", "print(${params.whole})"],
    ["python3", "--", "${params.text}"],
    ["python3", "-", "--", "${params.text}"],
    ["python3", "report.py", "${params.name}"],
    ["/usr/bin/python3.11", "${params.name}"],
    ["/usr/local/bin/python3.13t", "${params.name}"],
    ["busybox", "sh", "${params.name}"],
    ["nohup", "${params.name}"],
    ["nice", "-n", "5", "--", "${params.name}"],
    ["timeout", "5", "--", "${params.text}"],
    ["xargs", "--", "${params.text}"],
    ["find", ".", "-name", "${params.name}", "-exec", "rm", "{}", ";"],
    ["find", ".", "-exec", "${params.name}", "{}", ";"],
    ["tar", "-cf", "a.tar", "--checkpoint=1", "--checkpoint-action=exec=${params.name}", "x"],
    ["tar", "${params.text}"],
    ["git", "-c", "core.pager=${params.name}", "log"],
    ["git", "-c", "${params.text}", "log"],
    ["ssh", "-o", "${params.name}", "host"],
    ["ssh", "host", "--", "${params.text}"],
    ["awk", "${params.name}"],
    ["gawk", "-v", "${params.name}", "{print}"],
    ["sed", "-e", "${params.name}"],
    ["perl", "-e", "${params.name}"],
    ["perl5.36.0", "-ne", "print", "--", "${params.text}"],
    ["ruby", "-e", "${params.name}"],
    ["ruby3.1", "${params.name}"],
    ["node", "-e", "${params.name}"],
    ["node", "inspect", "--", "${params.text}"],
    ["php8.2", "-r", "${params.name}"],
    ["lua5.4", "${params.name}"],
    ["make", "--", "${params.text}"],
    ["make", "${params.name}"],
    ["docker", "exec", "box", "${params.name}"],
    ["kubectl", "exec", "pod", "--", "${params.text}"],
    ["sudo", "--", "${params.text}"],
    ["sudo", "-u", "me", "${params.name}"],
    ["setsid", "report", "${params.name}"],
    ["/lib64/ld-linux-x86-64.so.2", "${params.name}"],
    ["./with-lock", "sh", "-c", "${params.name}"],
    ["./with-lock", "/usr/bin/time", "${params.name}"],
    ["npx", "--", "${params.text}"],
    ["${env.SHELL}", "-c", "${params.name}"],
    ["${env.BIN}/python3", "--", "${params.text}"],
    ["/opt/my tools/bash", "${params.name}"],
    ["sh", "${env.DIR}/bash", "--", "${params.text}"],
    ["sh", "./with-lock", "sh", "--", "${params.text}"],
    ["uv", "run", "--", "${params.text}"],
    ["bash", "-Oc", "extglob", "--", "${params.text}"],
    ["bash", "-euoc", "pipefail", "--", "${params.text}"],
    ["pwsh", "-c", "Get-Date", "--", "${params.text}"],
    ["powershell.exe", "./report.ps1", "--", "${params.text}"],
    ["R", "-e", "${params.name}"],
    ["jq", "${params.name}", "a.json"],
    ["duckdb", "a.db", "${params.name}"],
    ["sqlite3", "a.db", "${params.name}"],
    ["gs", "${params.name}"],
    ["pdflatex", "${params.name}"],
    ["ltrace", "${params.name}"],
    ["hyperfine", "${params.name}"],
    ["mpirun", "-n", "4", "${params.name}"],
    ["singularity", "exec", "a.sif", "${params.name}"],
    ["ansible", "all", "-a", "${params.name}"],
    ["cross-env", "A=1", "${params.name}"],
    ["doppler", "run", "--", "${params.text}"],
    ["chronic", "--", "${params.text}"],
    ["/usr/bin/chronic", "${params.name}"],
    ["eatmydata", "--", "${params.text}"],
    ["run-parts", "${params.name}"],
    ["execlineb", "-c", "${params.name}"],
    ["pip3.12", "install", "${params.name}"],
    ["socat", "-", "${params.name}"],
    ["qemu-x86_64", "${params.name}"],
    ["tar", "-I", "${params.name}", "-xf", "a.tar"],
    ["tar", "-xf", "a.tar", "--to-command", "${params.name}"],
    ["rsync", "-e", "${params.name}", "a", "b"],
    ["git", "-c", "${params.name}", "log"],
    ["git", "bisect", "run", "${params.name}"],
    ["git", "rebase", "--exec", "${params.region}"],
    ["./tool", "--pre-command", "${params.name}"],
    ["./tool", "--eval", "${run.id}"],
    ["perl5.38-x86_64-linux-gnu", "${params.name}"],
    ["/bin/bash-static", "${params.name}"],
    ["dash-static", "-c", "--", "${params.text}"],
    ["python-dbg", "${params.name}"],
    ["busybox.static", "sh", "${params.name}"],
    ["micropython", "${params.name}"],
    ["run0", "${params.name}"],
    ["sudo-rs", "--", "${params.text}"],
    ["x86_64", "${params.name}"],
    ["pdsh", "-w", "a", "${params.name}"],
    ["ip", "netns", "exec", "blue", "${params.name}"],
    ["/sbin/ip", "vrf", "exec", "blue", "--", "${params.text}"],
    ["split", "--filter", "${params.name}", "a.txt"],
    ["rg", "--pre", "${params.name}", "x"],
    ["tar", "-cf", "a.tar", "--checkpoint=1", "--checkpoint-action", "${params.name}", "x"],
    ["/usr/bin/command", "${params.name}"],
]


@pytest.mark.parametrize("command", COMMANDS_ALLOWED, ids=" ".join)
def test_an_argument_that_may_stand_in_a_command(command: list[Any]) -> None:
    assert places(SHELL, {"command": command}) == []


@pytest.mark.parametrize("command", COMMANDS_REFUSED, ids=str)
def test_an_argument_that_may_not_stand_in_a_command(command: list[Any]) -> None:
    found = places(SHELL, {"command": command})
    assert found
    assert all(path[:2] == ("kwargs", "command") for path in found)
    assert places(SHELL, {"command": command}, unsafe=True) == []


ALLOWED: list[tuple[str, dict[str, Any]]] = [
    (SHELL, {"script": "echo $PARAM_TEXT $${HOME}", "env": {"WHO": "${params.text}", "JOB_DAY": "at ${params.day}"}}),
    (SHELL, {"script": "date", "stdin": "${env.HOME}"}),
    (PYTHON, {"file": "a.py", "args": ["--days", "${params.whole}", "--", "${params.text}"]}),
    (HTTP, {"url": "https://a.example/x/${params.text}?q=${params.text}#${run.id}"}),
    (HTTP, {"url": "https://${env.HOST}/${params.text}"}),
    (HTTP, {"url": "${env.BASE}/${params.text}"}),
    (HTTP, {"url": "https://a.example/", "json": {"deep": ["x ${params.text}"]}}),
    (HTTP, {"url": "https://a.example/", "body": "${params.text}", "headers": {"Idempotency-Key": "${run.id}"}}),
    (HTTP, {"url": "https://a.example/", "headers": {"Authorization": "Bearer ${env.TOKEN}"}}),
    (HOOK, {"url": "https://a.example/${params.text}", "run": {"job": "${params.text}"}}),
    (MAIL, {"to": ["${params.name}"], "sender": "a@b.example", "subject": "about ${params.text}"}),
    ("shop.export:write", {"path": "exports/${params.text}-${run.id}.csv", "command": ["${params.text}"]}),
]
REFUSED: list[tuple[str, dict[str, Any], tuple[str | int, ...]]] = [
    (SHELL, {"script": "echo ${params.whole}"}, ("script",)),
    (SHELL, {"script": "echo ${run.id}"}, ("script",)),
    (SHELL, {"script": "echo ${run.slot}"}, ("script",)),
    (SHELL, {"command": "${params.any}"}, ("command",)),
    (SHELL, {"command": {"a": "${params.any}"}}, ("command", "a")),
    (SHELL, {"command": ["./run.sh"], "cwd": "${params.region}"}, ("cwd",)),
    (SHELL, {"command": ["./run.sh"], "cwd": "work/${run.id}"}, ("cwd",)),
    (SHELL, {"command": ["sh", "-s"], "stdin": "${params.name}"}, ("stdin",)),
    (SHELL, {"command": ["wc"], "stdin": "${run.id}"}, ("stdin",)),
    (SHELL, {"command": ["wc"], "grace": "${params.text}"}, ("grace",)),
    (SHELL, {"command": ["wc"], "env": "${params.any}"}, ("env",)),
    (SHELL, {"command": ["wc"], "env": {"PATH": "${params.region}"}}, ("env", "PATH")),
    (SHELL, {"command": ["wc"], "env": {"A": ["${params.region}"]}}, ("env", "A", 0)),
    (SHELL, {"command": ["wc"], "other": "${params.region}"}, ("other",)),
    (PYTHON, {"file": "${params.region}.py"}, ("file",)),
    (PYTHON, {"file": "a.py", "venv": "${params.region}"}, ("venv",)),
    (PYTHON, {"file": "a.py", "cwd": "${params.region}"}, ("cwd",)),
    (PYTHON, {"file": "a.py", "stdin": "${params.region}"}, ("stdin",)),
    (PYTHON, {"file": "a.py", "args": "${params.dates}"}, ("args",)),
    (PYTHON, {"file": "a.py", "args": ["${params.text}"]}, ("args", 0)),
    (PYTHON, {"file": "a.py", "args": ["--name=${params.name}"]}, ("args", 0)),
    (PYTHON, {"file": "a.py", "env": {"PYTHONPATH": "${params.name}"}}, ("env", "PYTHONPATH")),
    *[
        (HTTP, {"url": url}, ("url",))
        for url in (
            "${params.text}",
            "${params.region}://a.example/",
            "https://${params.region}/x",
            "https://${params.region}.example/x",
            "https://a.example${params.text}/x",
            "https://a.example:${params.whole}/",
            "https://${params.text}@a.example/",
            "https://me@${params.text}/",
            "https:/${params.text}/x",
            "https:///${params.text}/x",
            "${env.BASE}${params.text}/x",
            "${env.SCHEME}//${params.text}/x",
            "https://${env.HOST}${params.text}/x",
            "https://a.example\\${params.text}/x",
        )
    ],
    (HTTP, {"url": "https://a.example/", "method": "${params.region}"}, ("method",)),
    (HTTP, {"url": "https://a.example/", "timeout": "${params.text}"}, ("timeout",)),
    (HTTP, {"url": "https://a.example/", "expected_status": "${params.whole}"}, ("expected_status",)),
    (HTTP, {"url": "https://a.example/", "expected_status": ["${params.whole}"]}, ("expected_status", 0)),
    (HTTP, {"url": "https://a.example/", "headers": "${params.any}"}, ("headers",)),
    (HTTP, {"url": "https://a.example/", "headers": {"X-A": "${params.text}"}}, ("headers", "X-A")),
    (HTTP, {"url": "https://a.example/", "headers": {"hOST": "${params.region}"}}, ("headers", "hOST")),
    (
        HTTP,
        {"url": "https://a.example/", "headers": {"Content-Length": "${params.whole}"}},
        ("headers", "Content-Length"),
    ),
    *[
        (HTTP, {"url": "https://a.example/", "headers": {name: "${params.name}"}}, ("headers", name))
        for name in ("Content_Length", "X-Forwarded-User", "X-Real-IP", "Remote-User", "Proxy-Authorization", "Origin")
    ],
    (HTTP, {"url": "https://a.example/", "body": '{"a": "${params.text}"}'}, ("body",)),
    (HOOK, {"url": "https://${params.text}/"}, ("url",)),
    (HOOK, {"url": "https://a.example/", "body": "${params.region}"}, ("body",)),
    (MAIL, {"to": "${params.text}"}, ("to",)),
    (MAIL, {"to": "${params.dates}"}, ("to",)),
    (MAIL, {"to": ["${params.mail}"]}, ("to", 0)),
    (MAIL, {"to": "a@b.example", "sender": "${params.text} <a@b.example>"}, ("sender",)),
    *[
        (MAIL, {"to": "a@b.example", option: "${params.region}"}, (option,))
        for option in ("host", "port", "security", "user", "password", "timeout")
    ],
    ("runner.tasks.notify:http.request", {"url": "https://a.example/${params.text}"}, ("url",)),
    ("runner.tasks.python:perform", {"argv": ["${params.text}"]}, ("argv", 0)),
    ("runner.tasks.shell.run", {"script": "echo ${params.text}"}, ("script",)),
]


@pytest.mark.parametrize(("task", "kwargs"), ALLOWED, ids=str)
def test_a_placeholder_that_may_stand_in_a_stock_task(task: str, kwargs: dict[str, Any]) -> None:
    assert places(task, kwargs) == []


@pytest.mark.parametrize(("task", "kwargs", "place"), REFUSED, ids=str)
def test_a_placeholder_that_may_not_stand_in_a_stock_task(
    task: str, kwargs: dict[str, Any], place: tuple[str | int, ...]
) -> None:
    assert [path for path in places(task, kwargs) if path[0] != "params"] == [("kwargs", *place)]
    assert places(task, kwargs, unsafe=True) == []


SAFE = """
    DAY REPORT_DAY MODE N X WHO REGION EXPORT_BUCKET PARAM_PATH JOB_ID RUN_DAY DEPLOY_ENV ZIPCODE QTY HISTORY LESSON
    MANAGER USERNAME OUTPUT_FILE REPORT_URL TARGET_HOST NODE COLOR MPL GRAPH BUNNY
    TEXT
"""
UNSAFE = """
    PATH path LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT DYLD_INSERT_LIBRARIES GCONV_PATH GLIBC_TUNABLES MALLOC_CHECK_ LOCPATH
    PYTHONPATH PYTHONHOME PYTHONSTARTUP PYTHONWARNINGS PYTHONBREAKPOINT PERL5LIB PERL5OPT PERLLIB RUBYOPT RUBYLIB
    NODE_OPTIONS NODE_PATH NODE_EXTRA_CA_CERTS LUA_INIT LUA_PATH_5_4 PHPRC PHP_INI_SCAN_DIR AWKPATH JAVA_TOOL_OPTIONS
    JDK_JAVA_OPTIONS _JAVA_OPTIONS CLASSPATH BASH_ENV ENV IFS PS1 PS4 SHELLOPTS BASHOPTS PROMPT_COMMAND CDPATH
    GLOBIGNORE PERL5DB
    ZDOTDIR FPATH SHELL HOME USER LOGNAME TMPDIR TMP TEMP PWD EDITOR VISUAL PAGER MANPAGER LESSOPEN LESSCLOSE BROWSER
    GIT_SSH_COMMAND GIT_DIR GIT_EXTERNAL_DIFF GIT_CONFIG_COUNT SSH_ASKPASS SSH_AUTH_SOCK SUDO_ASKPASS RSYNC_RSH
    http_proxy HTTPS_PROXY ALL_PROXY no_proxy TAR_OPTIONS GREP_OPTIONS ZIPOPT MAKEFLAGS MAKEFILES CC CFLAGS LDFLAGS
    OPENSSL_CONF SSL_CERT_FILE REQUESTS_CA_BUNDLE CURL_HOME PIP_INDEX_URL npm_config_registry CARGO_HOME RUSTC_WRAPPER
    GOFLAGS GOPATH DOTNET_STARTUP_HOOKS R_PROFILE_USER ERL_FLAGS PGHOST PGPASSFILE MYSQL_HOME KUBECONFIG DOCKER_HOST
    AWS_CONFIG_FILE HOSTALIASES RES_OPTIONS LOCALDOMAIN TERMINFO TERMCAP TZ TZDIR LC_ALL LANG LANGUAGE XDG_CONFIG_HOME
    DBUS_SESSION_BUS_ADDRESS DISPLAY CELERY_CONFIG_MODULE DJANGO_SETTINGS_MODULE RUNNER_PROJECT RUN_ID VIRTUAL_ENV
    NOTIFY_SOCKET LISTEN_FDS INPUTRC HISTFILE VIMINIT EXINIT MY_COMMAND APP_OPTS EXTRA_FLAGS PLUGIN_PATH
    SSLKEYLOGFILE FONTCONFIG_FILE VK_ICD_FILENAMES GNUTLS_SYSTEM_PRIORITY_FILE DATABASE_URL BROKER_URL MAILTO CRON_TZ
    COVERAGE_PROCESS_START MPLBACKEND PYSPARK_PYTHON AIRFLOW__CORE__PLUGINS HTTPLIB2_CA_CERTS RSYNC_CONNECT_PROG BZR_SSH
    COMPOSE_FILE PODMAN_USERNS LYNX_CFG WWW_BROWSER CAMLRUNPARAM
"""


@pytest.mark.parametrize("task", ["reports.daily:build", SHELL])
def test_a_variable_that_programs_obey_is_not_chosen_by_a_submitter(task: str) -> None:
    kwargs = {"script": "date"} if task == SHELL else {}
    for name in UNSAFE.split():
        assert not is_safe_name(name), name
        assert places(task, kwargs, env={name: "x${params.region}"}) == [("env", name)]
        assert places(task, kwargs, env={name: "x${env.REGION}"}) == []
        assert places(task, kwargs, env={name: "${params.region}"}, unsafe=True) == []
    for name in SAFE.split():
        assert places(task, kwargs, env={name: "${params.text} of ${run.id}"}) == [], name


@pytest.mark.parametrize(
    "pattern",
    [
        "^[a-z]+$",
        "^(a|b)$",
        r"^(?:v)?\d{1,3}(\.\d+)*$",
        r"\A[\w./]+\z",
        r"^a$|^b-c$",
        r"^\w[\w.-]{0,63}?$",
        "^$",
    ],
)
def test_a_pattern_that_admits_harmless_texts_alone(pattern: str) -> None:
    assert is_harmless_pattern(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "[a-z]+",
        "^[a-z]+",
        "[a-z]+$",
        "^a|b$",
        "^-?[0-9]+$",
        "^[-a-z]+$",
        "^(a|-b)$",
        "^a?-b$",
        "^(?:a?)*-$",
        "^.$",
        "^[^;]+$",
        r"^\S+$",
        r"^\D+$",
        r"^[\w ]+$",
        "^[a-z;]+$",
        "^[!-~]+$",
        "^(?i)a$",
        "^(?i:a)$",
        "^(?=a).*$",
        r"^\x3b$",
        "^a$b$",
        "^a{,3}$",
        "^[[:alpha:]]$",
        r"^\p{L}+$",
        "^a(b$",
        "^a$)",
        "^(" * 900,
    ],
)
def test_a_pattern_that_admits_more(pattern: str) -> None:
    assert not is_harmless_pattern(pattern)


def test_a_secret_never_becomes_an_argument() -> None:
    assert places(SHELL, {"script": "curl -u ${env.TOK}"}) == [("kwargs", "script")]
    assert places(SHELL, {"script": "curl -u ${env.TOK}"}, unsafe=True) == [("kwargs", "script")]
    for command in (["sh", "-c", "curl -u ${env.TOK}"], ["env", "A=b", "/bin/bash", "-Oec", "${env.TOK}"]):
        assert places(SHELL, {"command": command}) == [("kwargs", "command", len(command) - 1)]
        assert places(SHELL, {"command": command}, unsafe=True) == [("kwargs", "command", len(command) - 1)]
    assert places(SHELL, {"command": ["sh", "-c", 'echo "$1"', "${env.HOME}"]}) == []
    secret = {"TOK": "env:SHOP_TOKEN"}
    assert places(SHELL, {"command": ["curl", "-u", "me:${env.TOK}"]}, secrets=secret) == [("kwargs", "command", 2)]
    assert places(SHELL, {"command": ["curl", "${env.SHOP_TOKEN}"]}, secrets=secret) == [("kwargs", "command", 1)]
    assert places(SHELL, {"command": ["curl", "${env.TOK}"]}, secrets=secret, unsafe=True)
    assert places(PYTHON, {"file": "a.py", "args": ["${env.TOK}"]}, secrets=secret) == [("kwargs", "args", 0)]
    assert places(SHELL, {"command": ["ls", "${env.HOME}"], "stdin": "${env.TOK}"}, secrets=secret) == []


@pytest.mark.parametrize("name", ["TOKEN", "API_TOKEN", "DB_PASSWORD", "AWS_SECRET_ACCESS_KEY", "apikey", "DB_PWD"])
def test_a_variable_in_an_argument_that_seems_to_be_a_secret_is_told(name: str) -> None:
    for spec in (
        job(SHELL, {"command": ["curl", "-H", f"Authorization: ${{env.{name}}}"]}),
        job(PYTHON, {"file": "a.py", "args": [f"${{env.{name}}}"]}),
    ):
        assert not list(misplaced(spec))
        [warning] = [fault.message for fault in advice_for(spec)]
        assert "seems to be a secret" in warning
    for spec in (
        job(SHELL, {"command": ["ls", "${env.HOME}", "${env.TOKENIZER}", "${env.PWD}"]}),
        job(SHELL, {"script": "date", "env": {"A": f"${{env.{name}}}"}}),
        job(HTTP, {"url": "https://a.example/", "headers": {"Authorization": f"${{env.{name}}}"}}),
    ):
        assert not list(advice_for(spec))


def test_each_is_told_with_line_and_column_also_in_defaults(tmp_path: Path) -> None:
    path = tmp_path / "jobs.yaml"
    path.write_text(
        "defaults:\n"
        "  task: runner.tasks.shell:run\n"
        "  params: {n: {type: string}}\n"
        "  kwargs:\n"
        "    command: [report, '${params.n}']\n"
        "jobs:\n"
        "  a: {}\n"
        "  b: {kwargs: {command: [report, --, '${params.n}']}}\n"
        "  c:\n"
        "    env:\n"
        "      PATH: /bin:${params.n}\n"
        "    kwargs: {command: [report]}\n"
        "  d: {unsafe: true}\n"
        "  e: {task: report.daily:build}\n"
    )
    catalog = load_files([path], base=tmp_path)
    assert sorted(catalog.jobs) == ["b", "d", "e"]
    assert sorted(catalog.broken) == sorted(catalog.misplaced) == ["a", "c"]
    positions = [(problem.line, problem.column, problem.path) for problem in catalog.problems]
    assert positions == [(7, 3, "jobs.a.kwargs.command[1]"), (11, 13, "jobs.c.env.PATH")]
    assert list(catalog.unsafe()) == ["d"]


@pytest.mark.parametrize(
    ("target", "kwargs"),
    [
        (shell.run, {"script": "echo ${params.text}"}),
        (functools.partial(shell.run, grace="1s"), {"script": "echo ${params.text}"}),
        (functools.wraps(shell.run)(lambda **options: None), {"script": "echo ${params.text}"}),
        (python.script, {"file": "${params.text}"}),
        (http.request, {"url": "https://${params.text}/"}),
        (notify.webhook, {"url": "https://${params.text}/"}),
        (notify.ping, {"url": "https://${params.text}/"}),
        (notify.slack, {"url": "https://${params.text}/"}),
        (notify.teams, {"url": "https://${params.text}/"}),
        (notify.email, {"to": "${params.text}"}),
    ],
)
def test_a_worker_judges_by_what_the_task_leads_to(target: Any, kwargs: dict[str, Any]) -> None:
    spec = job("ours.tasks:run", kwargs)
    assert not list(misplaced(spec))
    with pytest.raises(TargetError, match=r"kwargs\.\w+: \$\{params\.text\}"):
        refuse_misplaced(spec, target)
    refuse_misplaced(job("ours.tasks:run", kwargs, unsafe=True), target)


CODE_RUNNERS = """
    os:system os.system posix:system os:popen os:execvp os:execl os:spawnv os:posix_spawn subprocess:run
    subprocess:check_call subprocess:getoutput subprocess.Popen builtins:eval builtins:exec builtins:__import__
    runpy:run_path runpy:run_module pty:spawn pickle:loads marshal:loads importlib:import_module timeit:timeit
    asyncio:create_subprocess_shell asyncio.subprocess:create_subprocess_exec ctypes:CDLL logging.config:dictConfig
    code:interact cProfile:run
    runner.tasks.shell:perform runner.tasks.command:Command runner.tasks.command:subprocess.run
"""


@pytest.mark.parametrize("task", CODE_RUNNERS.split())
def test_a_function_that_runs_what_it_is_given_takes_nothing_of_a_submitter(task: str) -> None:
    numbers = {"number", "whole", "flag"}
    others = [("params", name) for name in PARAMETERS if name not in numbers]
    assert places(task, {"args": ["echo", "${params.day}"], "cwd": "${run.id}"}) == [
        ("kwargs", "args", 1),
        ("kwargs", "cwd"),
        *others,
    ]
    assert places(task, {"args": ["echo", "${params.day}"]}, unsafe=True) == []
    assert not list(misplaced(JobSpec(name="a", task=task, kwargs={"args": ["echo", "${env.HOME}", "$${run.id}"]})))
    spec = JobSpec(name="a", task=task, params={"n": Param("n", {"enum": [1, 2.5, True]})}, env={"A": "${params.n}"})
    assert not list(misplaced(spec))
    target: Any = load_target(task)
    wrapped = functools.wraps(target)(lambda **options: None)
    method = target.__call__ if not isinstance(target, type) else target
    for function in (target, functools.partial(functools.partial(target, 1), check=True), wrapped, method):
        spec = job("ours.tasks:run", {})
        assert not list(misplaced(spec))
        with pytest.raises(TargetError, match=r"params\.text: would (become code or a command|be passed)"):
            refuse_misplaced(spec, function)
        refuse_misplaced(job("ours.tasks:run", {}, unsafe=True), function)


@pytest.mark.parametrize("task", ["time:sleep", "os:getpid", "os:remove", "shop.subprocess:run", "code.reports:build"])
def test_another_function_takes_what_it_is_given(task: str) -> None:
    assert places(task, {"path": "x/${params.text}", "list": ["${run.id}"]}) == []


def test_a_target_that_has_every_attribute_is_judged_in_finite_time() -> None:
    class Endless:
        def __getattr__(self, name: str) -> Endless:
            return self

    class Hostile:
        def __getattr__(self, name: str) -> Any:
            raise RuntimeError(name)

    for target in (Endless(), Hostile(), unittest.mock.MagicMock()):
        refuse_misplaced(job("ours.tasks:run", {"script": "${params.text}"}), target)


@pytest.mark.parametrize(
    ("url", "value", "filled"),
    [
        ("https://a.example/x/${params.text}/y", "a b/../c?d#e&f", "https://a.example/x/a%20b%2F..%2Fc%3Fd%23e%26f/y"),
        ("https://a.example/?q=${params.text}&z=1", "1&z=2#", "https://a.example/?q=1%26z%3D2%23&z=1"),
        ("https://a.example/${params.text}", "\r\nHost: b", "https://a.example/%0D%0AHost%3A%20b"),
        ("https://a.example/${params.text}", "%2e%2e", "https://a.example/%252e%252e"),
        ("https://a.example/${params.text}", "日", "https://a.example/%E6%97%A5"),
        ("${env.BASE}/${params.text}", "@b.example", "https://c.example/x/%40b.example"),
        ("https://a.example/${params.text}", "..", None),
        ("https://a.example/x/${params.text}/y", ".", None),
        ("https://a.example/x/.${params.text}?y", ".", None),
        ("https://a.example/%2e${params.text}", ".", None),
        ("https://a.example/x/${params.text}", "...", "https://a.example/x/..."),
    ],
)
def test_a_value_stays_where_it_stands_in_a_url(url: str, value: str, filled: str | None) -> None:
    sources = Sources("id", None, {"text": value}, {"BASE": "https://c.example/x"})
    spec = job(HTTP, {"url": url})
    assert not list(misplaced(spec))
    if filled is None:
        with pytest.raises(ParamsRefused, match=r"kwargs\.url: the value \. or \.\. would lead to another folder"):
            expand_kwargs(spec, sources)
    else:
        assert expand_kwargs(spec, sources) == {"url": filled}
        assert expand_kwargs(job("ours:fetch", {"url": url}), sources, http.request) == {"url": filled}
    raw = expand_kwargs(job(HTTP, {"url": url}, unsafe=True), sources)["url"]
    assert value in raw


def test_an_environment_cannot_make_the_host_of_a_value() -> None:
    spec = job(HTTP, {"url": "${env.BASE}/${params.text}/x"})
    with pytest.raises(ParamsRefused, match="would change the host"):
        expand_kwargs(spec, Sources("id", None, {"text": "evil.example"}, {"BASE": "https:/"}))


def test_what_a_param_gives_becomes_text_in_arguments_and_variables() -> None:
    command = ["report", "${params.number}", "${params.flag}", "--", "${params.any}", True]
    spec = job(SHELL, {"command": command, "env": {"F": "${params.flag}", "N": "${params.day}"}})
    values = {"number": 1.5, "flag": True, "any": None}
    assert expand_kwargs(spec, Sources("id", None, values)) == {
        "command": ["report", "1.5", "true", "--", "", True],
        "env": {"F": "true", "N": ""},
    }


def test_every_job_of_this_repository_is_allowed() -> None:
    for path in Path(__file__).parents[2].joinpath("jobs.d").glob("*.yaml"):
        catalog = load_files([path])
        assert not catalog.problems
        assert set(catalog.jobs) == set(yaml.safe_load(path.read_text())["jobs"])


def test_items_that_are_written_out_are_judged_as_they_stand() -> None:
    def schema(items: Any, **params: Any) -> dict[str, Any]:
        return item_schema(items, {name: Param(name, schema) for name, schema in params.items()})

    assert schema(("eu", "us-1")) == schema(("eu", "us-1", "de")) != {}
    assert is_harmless(Param("item", schema(("eu", "us-1", 5, True))))
    assert is_number(Param("item", schema((1, 2.5))))
    for items in (
        ("-x", "eu"),
        ("eu", "a b"),
        ("${params.x}",),
        (None,),
        ({"a": 1},),
        "${steps.a.result}",
        "${params.x}",
    ):
        assert not is_harmless(Param("item", schema(items))), items
    assert schema("${params.x}", x={"type": "array", "items": {"enum": ["a"]}}) == {"enum": ["a"]}
    assert schema({"a": ("eu",), "b": "${steps.c.result}"})["properties"].keys() == {"a"}
