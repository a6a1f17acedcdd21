"""Forms of ``redis_url``, where its value comes from, and that no password is ever shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.errors import InvalidSettings
from runner.settings import load_settings
from runner.settings.redis_url import BadUrl, canonical, mask


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("embedded", "embedded"),
        ("redis://localhost", "redis://localhost"),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("REDIS://localhost/2", "redis://localhost/2"),
        ("rediss://:p%23s@host:6380/1?ssl_cert_reqs=none", "rediss://:p%23s@host:6380/1?ssl_cert_reqs=none"),
        ("redis://[::1]:6379/0", "redis://[::1]:6379/0"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        ("unix://:secret@/run/redis.sock", "unix://:secret@/run/redis.sock"),
        ("redis+socket:///run/redis.sock?virtual_host=2", "unix:///run/redis.sock?db=2"),
        ("redis+socket:///run/redis.sock", "unix:///run/redis.sock"),
        ("valkey://host:6380/1", "redis://host:6380/1"),
        ("VALKEYS://u:p@host/1", "rediss://u:p@host/1"),
        ("valkey+socket:///run/valkey.sock?virtual_host=1", "unix:///run/valkey.sock?db=1"),
        ("valkey+sentinel://a:1/main", "sentinel://a:1/main"),
        ("valkeys+sentinel://a:1/main/2", "sentinel://a:1/main/2?ssl=true"),
        ("rediss+sentinel://a:1/main?db=2", "sentinel://a:1/main?db=2&ssl=true"),
        ("rediss+sentinel://a:1/main?ssl=true", "sentinel://a:1/main?ssl=true"),
        ("sentinel://a:1/main?ssl=1&ssl_cert_reqs=CERT_NONE", "sentinel://a:1/main?ssl=1&ssl_cert_reqs=none"),
        *(
            (
                f"rediss://h/0?ssl_cert_reqs={given}&ssl_ca_certs=/x",
                f"rediss://h/0?ssl_cert_reqs={means}&ssl_ca_certs=/x",
            )
            for means in ("none", "optional", "required")
            for given in (means, means.upper(), f"CERT_{means.upper()}", f"cert_{means}", f"ssl.CERT_{means.upper()}")
        ),
    ],
)
def test_sound_urls(given: str, means: str) -> None:
    assert canonical(given) == means


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ("", "is empty"),
        ("embeded", "did you mean embedded?"),
        ("localhost:6379", "is not a URL, write embedded, redis://"),
        ("amqp://host", "amqp:// is not supported"),
        ("redis://host?ssl_cert_reqs=CERT_NONE", "has ssl_cert_reqs in a URL without TLS, write rediss://"),
        ("valkey://host/0?ssl=true", "has ssl in a URL without TLS"),
        ("valkey+unix:///run/v.sock", "did you mean unix://"),
        ("rediss://host?ssl_cert_reqs=CERT_MAYBE", "has ssl_cert_reqs=CERT_MAYBE, write none, optional, or required"),
        ("valkey+cluster://a:7000", "Redis Cluster is not supported"),
        ("valkey://a:7000,b:7000/0", "Redis Cluster is not supported"),
        ("valkey://host/main", "as in redis://HOST:6379/0"),
        ("reddis://host", "did you mean redis"),
        ("sentinel://host:26379", "does not name the Sentinels and their primary"),
        ("sentinel://a:1;sentinel://b:2/main", "write all Sentinels in one URL"),
        ("sentinel://a:x/main", "without a valid host and port"),
        ("sentinel://a/main/x", "database must be a number"),
        ("sentinel://a/main?pasword=x", "has an option pasword"),
        ("redis://a:7000,b:7000/0", "Redis Cluster is not supported"),
        ("redis+cluster://a:7000", "Redis Cluster is not supported"),
        ("redis://host/main", "the database must be a number"),
        ("redis://host:port/0", "host and port"),
        ("redis://host:0/0", "port 0"),
        *[
            (f"{url}?{name}={value}", f"has {name}={value}, write seconds, such as {name}=5")
            for url in ("redis://host/0", "valkeys://host", "unix:///run/x.sock", "redis+socket:///run/x.sock")
            for name in ("socket_timeout", "socket_connect_timeout", "health_check_interval")
            for value in ("-1", "nan", "inf", "1e400", "abc", "99999999", *(() if name[0] == "h" else ("0", "")))
            if value or "+" not in url
        ],
        ("redis:///0", "has no host"),
        ("redis://:pa#ss@host", "write %23"),
        ("redis://:pa/ss@host", "%2F"),
        ("redis://ho st", "%20"),
        ("unix://run/redis.sock", "absolute path"),
    ],
)
def test_unsound_urls_say_what_to_write(given: str, part: str) -> None:
    with pytest.raises(BadUrl) as caught:
        canonical(given)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://:hunter2@host:6379/0",
        "redis://user:hunter2@host",
        "rediss://user:hun@ter2hunter2@host",
        "redis://:hunter2/x@host",
        "unix://:hunter2@/run/x.sock?db=1",
        "unix:///run/x.sock?db=1&password=hunter2",
        "redis://host?ssl_password=hunter2",
    ],
)
def test_a_password_is_never_shown(url: str, tmp_path: Path) -> None:
    assert "hunter2" not in mask(url)
    assert "***" in mask(url)
    (tmp_path / "jobs.d").mkdir()
    with pytest.raises(InvalidSettings) as caught:
        load_settings(tmp_path, environ={"RUNNER_REDIS_URL": url + "#"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("url", ["embedded", "redis://host:6379/0", "redis://user@host/0", "unix:///a/b@c.sock"])
def test_a_url_without_password_stays_as_it_is(url: str) -> None:
    assert mask(url) == url


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "jobs.d").mkdir()
    return tmp_path


def test_env_names_a_variable(project: Path) -> None:
    (project / "runner.yaml").write_text("redis_url: env:SHOP_REDIS\n", encoding="utf-8")
    assert load_settings(project, environ={"SHOP_REDIS": " redis://h/1\n"}).redis_url == "redis://h/1"


@pytest.mark.parametrize(("environ", "part"), [({}, "not set"), ({"SHOP_REDIS": ""}, "set but empty")])
def test_an_unset_variable_is_an_error_and_no_fall_back(project: Path, environ: dict[str, str], part: str) -> None:
    (project / "runner.yaml").write_text("redis_url: env:SHOP_REDIS\n", encoding="utf-8")
    with pytest.raises(InvalidSettings, match=f"runner.yaml:1:12: .*SHOP_REDIS is {part}") as caught:
        load_settings(project, environ=environ)
    assert caught.value.exit_code == 2


def test_file_names_a_file_relative_to_the_project(project: Path) -> None:
    (project / "secret").write_text("redis://:pw@h/1\n", encoding="utf-8")
    (project / "runner.yaml").write_text("redis_url: file:secret\n", encoding="utf-8")
    assert load_settings(project, environ={}).redis_url == "redis://:pw@h/1"


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"hunter2"])
def test_a_file_without_a_url_is_an_error_that_does_not_show_it(project: Path, content: bytes | None) -> None:
    if content is not None:
        (project / "secret").write_bytes(content)
    (project / "runner.yaml").write_text("redis_url: file:secret\n", encoding="utf-8")
    with pytest.raises(InvalidSettings, match="secret") as caught:
        load_settings(project, environ={})
    assert "hunter2" not in str(caught.value)
