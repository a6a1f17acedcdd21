"""The stock tasks: requests, scripts of Python, notices; against a real HTTP server and a real mail server."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest

from runner.actions.validate import validate
from runner.current import CurrentRun, running
from runner.errors import InvalidParams
from runner.tasks import http, notify, python
from runner.tasks.shell import ShellError, ShellStartError
from tests.support.outside import Mailbox, Site, serving_mail, serving_site
from tests.support.servers import free_port

RUN = {
    "id": "5f1c2b1e-0000-4000-8000-000000000001",
    "job": "nightly",
    "state": "FAILURE",
    "reason": "exception",
    "error": {"type": "ValueError", "message": "no such day\n", "traceback": "…"},
    "params": {"day": "today"},
    "log": ["looking", "no such day"],
}


@pytest.fixture
def site() -> Iterator[Site]:
    with serving_site() as site:
        yield site


def test_an_answer_becomes_the_result(site: Site) -> None:
    assert http.request(url=f"{site.url}/a?q=1", headers={"X-Token": "t"}) == {
        "status": 200,
        "url": f"{site.url}/a?…",
        "content_type": "application/json",
        "body": '{"path": "/a?q=1"}',
        "json": {"path": "/a?q=1"},
        "truncated": False,
    }
    assert site.seen[0][2]["x-token"] == "t"


def test_json_and_text_are_sent(site: Site) -> None:
    http.request(url=site.url, method="PUT", json={"a": [1]})
    http.request(url=site.url, method="POST", body="words")
    (put, _, headers, body), (post, _, _, text) = site.seen
    assert (put, json.loads(body), headers["content-type"]) == ("PUT", {"a": [1]}, "application/json")
    assert (post, text) == ("POST", b"words")


def test_letters_that_no_url_may_hold_are_written_as_bytes(site: Site) -> None:
    http.request(url=f"{site.url}/m\u00fcn chen%20?q=\u65e5".replace(" ", "+"))
    assert site.seen[0][1] == "/m%C3%BCn+chen%20?q=%E6%97%A5"


def test_a_large_answer_is_cut(site: Site) -> None:
    answer = http.request(url=f"{site.url}/large")
    assert (len(answer["body"]), answer["truncated"], answer["json"]) == (http.BODY_BYTES, True, None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, http.UnexpectedStatusError),
        (503, http.UnexpectedStatusError),
        (429, http.UnexpectedStatusError),
        (404, http.RefusedError),
        (304, http.RefusedError),
    ],
)
def test_a_status_that_is_not_expected(site: Site, status: int, kind: type[Exception]) -> None:
    with pytest.raises(http.UnexpectedStatusError, match=rf"GET \S*/status/{status}\?… answered {status} ") as caught:
        http.request(url=f"{site.url}/status/{status}?key=hidden")
    assert type(caught.value) is kind
    assert "hidden" not in str(caught.value)


def test_a_status_that_is_expected(site: Site) -> None:
    assert http.request(url=f"{site.url}/status/404", expected_status=[404, 410])["status"] == 404
    with pytest.raises(http.RefusedError):
        http.request(url=site.url, expected_status=201)


def test_redirects_are_followed_and_headers_stay_with_their_host(site: Site) -> None:
    other = site.url.replace("127.0.0.1", "localhost")
    http.request(url=f"{site.url}/to?{site.url}/here", headers={"Authorization": "Bearer t"})
    http.request(url=f"{site.url}/to?{other}/there", headers={"Authorization": "Bearer t"}, redirects="all")
    authorized = {path: "authorization" in headers for _, path, headers, _ in site.seen}
    assert (authorized["/here"], authorized["/there"]) == (True, False)
    with pytest.raises(http.RefusedError, match="302"):
        http.request(url=f"{site.url}/to?file:///etc/passwd")


ORIGIN = "http://shop.example/a"
FOLLOWED = [
    # (from, to, with same-host, with all)
    (ORIGIN, "http://shop.example/b", True, True),
    (ORIGIN, "http://SHOP.example:80/b", True, True),
    (ORIGIN, "http://shop.example./b", True, True),
    (ORIGIN, "https://shop.example/b", True, True),
    (ORIGIN, "https://shop.example:8443/b", False, True),
    (ORIGIN, "http://shop.example:8080/b", False, True),
    (ORIGIN, "http://www.shop.example/b", False, True),
    (ORIGIN, "http://shop.example.evil.example/b", False, True),
    (ORIGIN, "http://169.254.169.254/latest", False, True),
    (ORIGIN, "http://shop.example@evil.example/", False, False),
    (ORIGIN, "http://me:hunter2@shop.example/b", False, False),
    (ORIGIN, "http://shop.example:99999/", False, False),
    (ORIGIN, "http://shop.example:x/", False, False),
    (ORIGIN, "file:///etc/passwd", False, False),
    (ORIGIN, "ftp://shop.example/b", False, False),
    ("https://shop.example/a", "http://shop.example/b", False, True),
    ("https://shop.example/a", "https://shop.example:443/b", True, True),
    ("http://shop.example:8080/a", "https://shop.example/b", False, True),
    ("http://[::1]:8080/a", "http://[::1]:8080/b", True, True),
]


@pytest.mark.parametrize(("old", "new", "same", "every"), FOLLOWED)
def test_which_redirects_are_followed(old: str, new: str, same: bool, every: bool) -> None:
    found = [http._follows(which, old, new) for which in http.REDIRECTS]
    assert found == [False, same, every]


@pytest.mark.parametrize("options", [{}, {"redirects": "same-host"}, {"redirects": "none"}])
def test_a_redirect_to_another_host_is_told_and_not_followed(site: Site, options: dict[str, Any]) -> None:
    other = site.url.replace("127.0.0.1", "localhost")
    with pytest.raises(http.RefusedError, match=r"302.*localhost.*not followed"):
        http.request(url=f"{site.url}/to?{other}/there?key=hunter2", **options)
    with pytest.raises(http.RefusedError, match="302"):
        notify.webhook(url=f"{site.url}/to?{other}/there", run={"id": "1", "job": "j", "state": "FAILURE"}, **options)
    answer = http.request(url=f"{site.url}/to?{other}/there", expected_status=302, **options)
    assert answer["status"] == 302
    assert not any(path.startswith("/there") for _, path, _, _ in site.seen)


def test_redirects_none_stays_where_it_is(site: Site) -> None:
    with pytest.raises(http.RefusedError, match="302"):
        http.request(url=f"{site.url}/to?{site.url}/here", redirects="none")
    assert [path.partition("?")[0] for _, path, _, _ in site.seen] == ["/to"]
    with pytest.raises(ValueError, match="redirects: 'some' is not known"):
        http.request(url=site.url, redirects="some")  # type: ignore[arg-type]


def test_no_answer(site: Site) -> None:
    with pytest.raises(http.NoAnswerError, match="Connection refused"):
        http.request(url=f"http://127.0.0.1:{free_port()}/")
    with pytest.raises(http.NoAnswerError):
        http.request(url=site.url.replace("http", "https"))
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(http.NoAnswerError, match="in time"):
        http.request(url=f"http://127.0.0.1:{silent.getsockname()[1]}/", timeout="200ms")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"url": "ftp://x/"}, "not an http or https URL"),
        ({"url": "http://m\u00fcnchen.example/"}, "not an http or https URL"),
        ({"url": "http://me:hunter2@127.0.0.1/x"}, "give them in headers"),
        ({"url": "http://x/", "headers": {"A": "\u65e5"}}, "headers.A: not a text of one line in Latin letters"),
        ({"url": "http://x/", "method": "get"}, "write GET"),
        ({"url": "http://x/", "json": 1, "body": "x"}, "either json or body"),
        ({"url": "http://x/", "expected_status": 9}, "100 to 599"),
        ({"url": "http://x/", "timeout": "0s"}, "such as 30s"),
        ({"url": "http://x/", "headers": {"A": "b\r\nC: d"}}, "one line"),
    ],
)
def test_options_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        http.request(**options)


# -- scripts


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RUNNER_PROJECT", str(tmp_path))
    return tmp_path


def test_a_script_has_its_own_interpreter_args_and_params(place: Path) -> None:
    (place / "say.py").write_text("import os, sys; print(sys.argv[1:], os.environ['PARAM_DAY'], os.getpid())")
    run = CurrentRun(id="x", job="say", attempt=1, params={"day": "today"})
    with running(run):
        result = python.script(file="say.py", args=["a b", 2], day="today")  # type: ignore[list-item]
    assert result["output"].startswith("['a b', '2'] today ")
    assert str(__import__("os").getpid()) not in result["output"].split()


def test_a_script_in_a_virtual_environment_of_its_own(place: Path) -> None:
    (place / "where.py").write_text("import sys; print(sys.prefix)")
    (place / "env" / "bin").mkdir(parents=True)
    (place / "env" / "pyvenv.cfg").write_text(f"home = {Path(sys.executable).resolve().parent}\n")
    (place / "env" / "bin" / "python").symlink_to(Path(sys.executable).resolve())
    assert python.script(file="where.py", venv="env")["output"].strip() == str(place / "env")


def test_a_script_that_fails_tells_its_last_lines(place: Path) -> None:
    (place / "bad.py").write_text("print('on the way'); raise SystemExit(3)")
    with pytest.raises(ShellError, match=r"bad\.py ended with exit status 3; its last lines:\non the way"):
        python.script(file="bad.py")


def test_a_script_that_is_not_there(place: Path) -> None:
    with pytest.raises(ShellStartError, match="there is no file"):
        python.script(file="none.py")
    (place / "a.py").touch()
    with pytest.raises(ShellStartError, match=r"there is no interpreter .*python3 -m venv"):
        python.script(file="a.py", venv="none")
    with running(CurrentRun(id="x", params={"file": "b.py"})), pytest.raises(InvalidParams, match="file: not a param"):
        python.script(file="b.py")


# -- notices


def test_a_webhook_gets_the_run_or_words(site: Site) -> None:
    assert notify.webhook(url=f"{site.url}/hook", run=RUN) == {"status": 200}
    notify.webhook(url=f"{site.url}/hook", run=RUN, body="text")
    assert json.loads(site.seen[0][3]) == RUN
    text = json.loads(site.seen[1][3])["text"]
    assert text.startswith("FAILURE: nightly (exception)\n")
    assert f"runner why {RUN['id']}" in text


@pytest.fixture
def mail() -> Iterator[tuple[Mailbox, int]]:
    with serving_mail() as found:
        yield found


def send(port: int, **options: Any) -> dict[str, Any]:
    given = {"to": "oncall@example.com", "sender": "Runner <runner@example.com>", "host": "127.0.0.1", "port": port}
    return notify.email(run=RUN, **{**given, **options})


def test_a_mail_tells_reason_last_lines_and_the_next_command(mail: tuple[Mailbox, int], place: Path) -> None:
    box, port = mail
    sent = send(port, to=["a@example.com", "b@example.com"], user="me", password="right")
    assert sent["to"] == ["a@example.com", "b@example.com"]
    (envelope,) = box.letters
    letter = message_from_bytes(envelope.original_content, policy=policy.default)
    assert isinstance(letter, EmailMessage)
    assert letter["Subject"] == "FAILURE: nightly (exception)"
    assert letter["Message-ID"] == sent["message_id"]
    text = letter.get_content().replace("\r\n", "\n")
    for phrase in (
        "ValueError: no such day",
        "day='today'",
        "  looking\n",
        f"runner why {RUN['id']} --project {place}",
    ):
        assert phrase in text


@pytest.mark.parametrize(
    ("options", "kind", "words"),
    [
        ({"to": "busy@example.com"}, notify.MailError, "451 come back later"),
        ({"to": "nobody@example.com"}, notify.MailRefusedError, "550 no such user"),
        ({"user": "me", "password": "not-it"}, notify.MailRefusedError, "user or password is refused"),
        ({"security": "starttls"}, notify.MailRefusedError, "STARTTLS"),
        ({"security": "tls"}, notify.MailError, "WRONG_VERSION_NUMBER"),
    ],
)
def test_a_mail_that_is_not_taken(
    mail: tuple[Mailbox, int], options: dict[str, Any], kind: type[Exception], words: str
) -> None:
    with pytest.raises(notify.MailError, match=words) as caught:
        send(mail[1], **options)
    assert type(caught.value) is kind
    assert "not-it" not in str(caught.value)


@pytest.mark.parametrize(("address", "words"), [("nobody", "550 no such user"), ("busy", "451 come back later")])
def test_a_mail_that_some_recipients_do_not_get_is_told_and_not_sent_again(
    mail: tuple[Mailbox, int], address: str, words: str
) -> None:
    box, port = mail
    with pytest.raises(notify.MailRefusedError, match=rf"{words}; all but {address}@example\.com have it"):
        send(port, to=["a@example.com", f"{address}@example.com"])
    assert len(box.letters) == 1


def test_a_mail_server_that_is_away() -> None:
    with pytest.raises(notify.MailError, match="Connection refused"):
        send(free_port())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"to": "nobody"}, "not an email address"),
        ({"to": []}, "names nobody"),
        ({"sender": "x"}, "not an email address"),
        ({"host": "mail.example.com", "user": "me", "password": "x"}, "in the clear"),
        ({"user": "me"}, "belong together"),
        ({"port": 0}, "is not a port"),
    ],
)
def test_mail_options_that_make_no_sense(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        send(**{"port": 25, **options})


# -- what validate says


JOBS = """jobs:
  ping:
    task: runner.tasks.http:request
    params: {host: {type: string}, id: {type: integer}}
    kwargs: {url: "https://${params.host}/x", methd: GET, timeout: 30, expected_status: "200"}
  clean:
    task: runner.tasks.python:script
    params: {name: {type: string}}
    kwargs: {file: "${params.name}.py", args: [true]}
  mail:
    task: runner.tasks.notify:email
    kwargs: {to: me, sender: a@b.example, security: ssl}
  leak:
    task: runner.tasks.http:request
    params: {url: {type: string, required: true}, json: {type: object}}
  mine:
    task: runner.tasks.notify:email
    params: {run: {type: object, required: true}, host: {type: string, required: true}}
    kwargs: {to: a@b.example, sender: a@b.example}
  hook:
    task: runner.tasks.notify:webhook
    params: {run: {type: object, required: true}}
    kwargs: {url: "mailto:me", body: txt}
"""


def test_validate_knows_the_options_of_stock_tasks(tmp_path: Path) -> None:
    (tmp_path / "runner.yaml").touch()
    (tmp_path / "jobs.d").mkdir()
    (tmp_path / "jobs.d" / "stock.yaml").write_text(JOBS)
    problems = [str(problem) for problem in validate(project=str(tmp_path)).problems]
    for phrase in (
        "did you mean method?",
        "would let a submitter choose the host",
        "kwargs.timeout",
        "expected_status",
        "would let a submitter choose the code",
        "args: True is not text",
        "me is not an email address",
        "kwargs.security",
        "needs run; add it to params",
        "not an http or https URL",
        "kwargs.body",
    ):
        assert any(phrase in problem for problem in problems), (phrase, problems)
    assert sum("would let a submitter set an option that only YAML may set" in problem for problem in problems) == 2
    assert all(problem.startswith("jobs.d/stock.yaml:") for problem in problems)
