"""Forms of ``archive_url``, where its value comes from, and that no password is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import InvalidSettings
from runner.settings import load_settings
from runner.settings.archive_url import canonical_archive, sqlite_file
from runner.settings.redis_url import BadUrl, mask, secrets_of

PROJECT = Path("/srv/shop")


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("sqlite:///runner.db", "sqlite:////srv/shop/runner.db"),
        ("sqlite:///../data/./runner.db", "sqlite:////srv/data/runner.db"),
        ("SQLite:////var/lib/runner.db", "sqlite:////var/lib/runner.db"),
        ("sqlite:///a%20b.db", "sqlite:////srv/shop/a b.db"),
        ("postgresql://u:p%40@db:5432/runs", "postgresql://u:p%40@db:5432/runs"),
        ("postgres://db/runs?sslmode=require", "postgresql://db/runs?sslmode=require"),
        ("postgresql+psycopg://db/runs", "postgresql://db/runs"),
        ("postgresql:///runs?host=/run/postgresql", "postgresql:///runs?host=/run/postgresql"),
        ("postgresql://?service=runs", "postgresql://?service=runs"),
    ],
)
def test_a_url_in_its_forms(given: str, means: str) -> None:
    assert canonical_archive(given, PROJECT) == means


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("", "is empty, write sqlite"),
        ("runner.db", "is not a URL, write sqlite:///FILE"),
        ("sqlite://", "names no file"),
        ("sqlite:///", "names no file"),
        ("sqlite://runner.db", "names no file"),
        ("sqlite:///folder/", "names no file"),
        ("sqlite:///:memory:", "is not kept in a file"),
        ("sqlite:///x.db?mode=ro", "has options"),
        ("mysql://db/runs", "mysql:// is not supported, write sqlite"),
        ("postgrseql://db/runs", "did you mean postgresql"),
        ("postgresql://db", "names no database"),
        ("postgresql:///runs", "has no host"),
        ("postgresql://db:x/runs", "has no valid host and port"),
        ("postgresql://db:0/runs", "has port 0"),
        ("postgresql://u:a#b@db/runs", "has a #"),
        ("postgresql://db/my runs", "has a space"),
    ],
)
def test_what_is_no_url_is_refused_with_a_remedy(given: str, says: str) -> None:
    with pytest.raises(BadUrl) as caught:
        canonical_archive(given, PROJECT)
    assert says in str(caught.value)


def test_a_file_of_sqlite() -> None:
    assert sqlite_file(canonical_archive("sqlite:///100%25.db", PROJECT)) == PROJECT / "100%.db"
    assert sqlite_file("postgresql://db/runs") is None


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "jobs.d").mkdir()
    return tmp_path


def test_the_value_comes_from_the_file_a_variable_or_another_file(project: Path) -> None:
    settings = project / "runner.yaml"
    assert load_settings(project, environ={}).archive_url is None
    settings.write_text("archive_url: sqlite:///runner.db\n", encoding="utf-8")
    loaded = load_settings(project, environ={})
    assert (loaded.archive_url, loaded.hidden_archive_url) == (f"sqlite:///{project}/runner.db", False)
    assert load_settings(project, environ={"RUNNER_ARCHIVE_URL": "postgres://h/d"}).archive_url == "postgresql://h/d"
    settings.write_text("archive_url: env:RUNS\n", encoding="utf-8")
    loaded = load_settings(project, environ={"RUNS": " postgresql://u:pw@h/d\n"})
    assert (loaded.archive_url, loaded.hidden_archive_url) == ("postgresql://u:pw@h/d", True)
    (project / "secret").write_text("postgresql://u:pw@h/e\n", encoding="utf-8")
    settings.write_text("archive_url: file:secret\n", encoding="utf-8")
    assert load_settings(project, environ={}).archive_url == "postgresql://u:pw@h/e"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("archive_url: env:RUNS\n", "the environment variable RUNS is not set, set it to the URL of your database"),
        ("archive_url: file:none\n", "cannot be read (No such file or directory), write the URL of your database"),
        ("archive_url: postgresql://u:geheim@h\n", "names no database"),
        ("archive_url: 1\n", "expected text"),
        ("worker: {archive: maybe}\n", "worker.archive"),
    ],
)
def test_what_is_wrong_is_named_without_a_password(project: Path, text: str, says: str) -> None:
    (project / "runner.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidSettings) as caught:
        load_settings(project, environ={})
    assert says in caught.value.message
    assert "geheim" not in caught.value.message


def test_passwords_are_masked() -> None:
    url = "postgresql://u:geheim%40@h/d?sslpassword=auch"
    assert mask(url) == "postgresql://u:***@h/d?sslpassword=***"
    assert set(secrets_of(url, hidden=False)) == {"geheim%40", "geheim@", "auch"}
