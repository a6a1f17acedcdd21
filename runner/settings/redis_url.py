"""Read and check ``redis_url``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from runner._dataclass import dataclass
from runner.host.regular import read_regular
from runner.host.users import NoHome, expand_home
from runner.model.option import did_you_mean

EMBEDDED = "embedded"
_SCHEMES = ("redis", "rediss", "unix")
_SAME = {
    # Valkey has the protocol of Redis, and its own names for schemes.
    "valkey": "redis",
    "valkeys": "rediss",
    "valkey+socket": "redis+socket",
    "valkeys+socket": "rediss+socket",
}
_SENTINEL_SCHEMES = ("sentinel", "redis+sentinel", "redis-sentinel", "valkey+sentinel", "valkey-sentinel")
_SENTINEL_TLS_SCHEMES = ("sentinels", "rediss+sentinel", "valkeys+sentinel")
_CLUSTER_SCHEMES = (
    *("redis+cluster", "rediss+cluster", "redis-cluster", "rediscluster", "rediscluster+tls"),
    *("valkey+cluster", "valkeys+cluster", "valkey-cluster"),
)
_CERT_REQS = ("none", "optional", "required")
_FORMS = (
    "embedded, redis://HOST:6379/0, rediss://…, valkey://…, unix:///PATH, sentinel://HOST:26379,HOST:26379/MASTER, "
    "env:NAME or "
    "file:PATH"
)
SENTINEL_PORT = 26379
_LONGEST = 8192


class BadUrl(ValueError):
    """A URL is invalid; the message has a remedy, and never a password."""


def mask(url: str) -> str:
    """Return ``url`` with ``***`` in place of any password."""
    masked = re.sub(r"^([a-z+-]+://[^/?]*?:).*@", r"\1***@", url, count=1, flags=re.IGNORECASE)
    return re.sub(r"([?&](?:password|ssl_?password|sentinel_password)=)[^&]*", r"\1***", masked, flags=re.IGNORECASE)


def secrets_of(url: str, *, hidden: bool) -> tuple[str, ...]:
    """Return the secrets in a valid URL: its passwords, decoded and as written.

    Args:
        url: the URL in canonical form.
        hidden: whether the whole URL except its scheme is a secret, because it came from a variable or a file.
    """
    if url == EMBEDDED:
        return ()
    parts = urlsplit(url)
    login = parts.netloc.rpartition("@")[0]
    found = [login.partition(":")[2], *(value for name, value in parse_qsl(parts.query) if name in _PASSWORDS)]
    written = [text for password in found for text in (password, unquote(password)) if password]
    return tuple(dict.fromkeys((*written, *([url.partition("://")[2]] if hidden else []))))


_PASSWORDS = ("password", "ssl_password", "sentinel_password", "sslpassword")


def look_up(
    value: str,
    project: Path,
    environ: Mapping[str, str],
    *,
    of: str = "Redis",
    read: Callable[[str], str] | None = None,
) -> str:
    """Return the canonical URL of ``value``, which may be ``env:NAME`` or ``file:PATH``.

    Args:
        value: the value of the option.
        project: the folder of the project.
        environ: the environment variables.
        of: the name of the server, for messages.
        read: returns the canonical form of a URL; by default, :func:`canonical`.

    Raises:
        BadUrl: there is no valid URL; the message completes a sentence that begins with the option's name.
    """
    read = read or canonical
    if value.startswith("env:"):
        name = value[4:]
        if not environ.get(name):
            is_set = "set but empty" if name in environ else "not set"
            raise BadUrl(f"the environment variable {name} is {is_set}, set it to the URL of your {of}")
        try:
            return read(environ[name].strip())
        except BadUrl as bad:
            raise BadUrl(f"the environment variable {name}: {bad}") from None
    if value.startswith("file:"):
        try:
            path = project / expand_home(Path(value[5:]))
        except NoHome as error:
            raise BadUrl(str(error)) from None
        try:
            data = read_regular(path, _LONGEST)
            text = data.decode("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "is not UTF-8"
            raise BadUrl(f"{path} cannot be read ({why}), write the URL of your {of} into it") from None
        if len(data) > _LONGEST:
            raise BadUrl(f"{path} is longer than {_LONGEST:,} bytes, write only the URL of your {of} into it")
        try:
            return read(text)
        except BadUrl as bad:
            raise BadUrl(f"{path}: {bad}") from None
    return read(value)


def canonical(url: str) -> str:
    """Return ``url`` in one of these forms: ``embedded``, ``redis://``, ``rediss://``, ``unix://``, ``sentinel://``.

    Raises:
        BadUrl: it is none of these, or it is incomplete.
    """
    if url == EMBEDDED:
        return url
    if not url:
        raise BadUrl(f"is empty, write {_FORMS}")
    scheme, colon, rest = url.partition("://")
    scheme = _SAME.get(scheme.lower(), scheme.lower())
    if colon:
        url = _with_cert_reqs(f"{scheme}://{rest}")
        rest = url.partition("://")[2]
    if scheme in _CLUSTER_SCHEMES or (scheme in ("redis", "rediss") and "," in rest.split("@")[-1].split("/")[0]):
        raise BadUrl(
            "Redis Cluster is not supported, because the keys of a run change in one step, and a cluster spreads them; "
            "write the URL of one server"
        )
    if scheme in (*_SENTINEL_SCHEMES, *_SENTINEL_TLS_SCHEMES):
        url = f"sentinel://{rest}"
        if scheme in _SENTINEL_TLS_SCHEMES and not re.search(r"[?&]ssl=", url):
            url += "&ssl=true" if "?" in url else "?ssl=true"
        read_sentinel(url)
        return _one_host(url)
    if scheme in ("redis+socket", "rediss+socket"):
        url = _from_kombu(url)
        scheme = "unix"
    if not colon or scheme not in _SCHEMES:
        if not colon:
            # Not shown: it may be a password that came from a file or a variable.
            raise BadUrl(f"is not a URL{did_you_mean(url, [EMBEDDED]) or ', write ' + _FORMS}")
        swap = {
            "redis+tls": "rediss",
            "valkey+tls": "rediss",
            "tcp": "redis",
            "redis+unix": "unix",
            "valkey+unix": "unix",
        }
        guess = f", did you mean {swap[scheme]}://?" if scheme in swap else did_you_mean(scheme, _SCHEMES)
        raise BadUrl(f"{scheme[:20]}:// is not supported{guess or ', write ' + _FORMS}")
    of_tls = re.search(r"[?&](ssl\w*)=", url)
    if scheme == "redis" and of_tls:
        raise BadUrl(f"has {of_tls[1]} in a URL without TLS, write rediss:// or valkeys:// in front, or leave it out")
    return _checked(f"{scheme}{url[len(scheme) :]}", scheme)


def _with_cert_reqs(url: str) -> str:
    """Return ``url`` with ``ssl_cert_reqs`` in the spelling of redis-py; Celery and Python write ``CERT_NONE``.

    Raises:
        BadUrl: the value is invalid.
    """
    found = re.search(r"(?<=[?&]ssl_cert_reqs=)[^&#]*", url)
    if found is None:
        return url
    word = unquote(found[0]).strip().lower().removeprefix("ssl.").removeprefix("cert_")
    if word not in _CERT_REQS:
        raise BadUrl(f"has ssl_cert_reqs={found[0][:40]}, write {', '.join(_CERT_REQS[:2])}, or {_CERT_REQS[2]}")
    return url[: found.start()] + word + url[found.end() :]


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """The parts of a ``sentinel://`` URL: the Sentinels, the name of the primary, and the logins.

    ``options`` are for connections to the primary: ``db``, ``username``, ``password``, ``ssl``, and others.
    """

    sentinels: tuple[tuple[str, int], ...]
    master: str
    options: Mapping[str, Any]
    sentinel_options: Mapping[str, Any]


def read_sentinel(url: str) -> SentinelUrl:
    """Parse ``sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]…]/MASTER[/DB][?OPTION=VALUE…]``.

    The options are ``db``, ``ssl``, and the ``ssl_*`` of redis-py for the primary, and ``sentinel_username`` and
    ``sentinel_password`` for the Sentinels.

    Raises:
        BadUrl: it does not have this form.
    """
    if ";" in url:
        raise BadUrl("has a ;, write all Sentinels in one URL: sentinel://HOST:26379,HOST:26379/MASTER")
    _checked_text(url)
    parts = urlsplit(url)
    login, _, hosts = parts.netloc.rpartition("@")
    query = dict(parse_qsl(parts.query))
    hosts += "," + query.pop(_MORE, "")
    found = tuple(_host_and_port(host) for host in hosts.split(",") if host)
    master, _, database = parts.path.strip("/").partition("/")
    if not found or not master:
        raise BadUrl("does not name the Sentinels and their primary, write sentinel://HOST:26379,HOST:26379/MASTER")
    options: dict[str, Any] = {"db": query.pop("db", database) or "0"}
    if not str(options["db"]).isdecimal():
        raise BadUrl("the database must be a number, as in sentinel://HOST:26379/MASTER/0")
    options["db"] = int(options["db"])
    user, _, password = login.partition(":")
    options |= {name: unquote(value) for name, value in (("username", user), ("password", password)) if value}
    theirs = {name.removeprefix("sentinel_"): query.pop(name) for name in _SENTINEL_OPTIONS if name in query}
    if "ssl" in query:
        options["ssl"] = query.pop("ssl").lower() in ("1", "true", "yes")
    unknown = [name for name in query if not name.startswith("ssl_")]
    if unknown:
        raise BadUrl(f"has an option {unknown[0]}{did_you_mean(unknown[0], ['db', 'ssl', *_SENTINEL_OPTIONS])}")
    return SentinelUrl(found, unquote(master), {**options, **query}, theirs)


def _one_host(url: str) -> str:
    """Return the URL with one Sentinel as host and the others in the query, because Kombu allows only one host."""
    parts = urlsplit(url)
    login, at, hosts = parts.netloc.rpartition("@")
    first, _, others = hosts.partition(",")
    if not others:
        return url
    query = f"{parts.query}&" if parts.query else ""
    return f"sentinel://{login}{at}{first}{parts.path}?{query}{urlencode({_MORE: others})}"


_MORE = "sentinels"
_SENTINEL_OPTIONS = ("sentinel_username", "sentinel_password")


def _host_and_port(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    if text.endswith("]") or not colon:
        host, port = text, str(SENTINEL_PORT)
    if not host or not (port.isascii() and port.isdecimal()) or not 0 < int(port) < 65536:
        raise BadUrl("has a Sentinel without a valid host and port, write HOST:26379")
    return host.strip("[]"), int(port)


def _checked_text(url: str) -> None:
    if any(char.isspace() for char in url):
        raise BadUrl("has a space, write %20 instead")
    if "#" in url:
        raise BadUrl("has a #, write %23 instead (in a password, also %2F for / and %40 for @)")


_SECONDS = ("socket_timeout", "socket_connect_timeout", "health_check_interval")
_MOST_SECONDS = 86400.0


def _check_seconds(query: str) -> None:
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name not in _SECONDS:
            continue
        try:
            seconds = float(value)
        except ValueError:
            seconds = -1.0
        # This form refuses nan, too. In redis-py, 0 means no health checks.
        if not (0 < seconds <= _MOST_SECONDS or (seconds == 0 and name == "health_check_interval")):
            raise BadUrl(f"has {name}={value[:40]}, write seconds, such as {name}=5")


def _checked(url: str, scheme: str) -> str:
    _checked_text(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadUrl("has no valid host and port; in a password, write %2F for /, %23 for #, and %40 for @") from None
    _check_seconds(parts.query)
    if scheme == "unix":
        if parts.hostname or not parts.path.startswith("/"):
            raise BadUrl("unix:// needs an absolute path: unix:///run/redis/redis.sock?db=0")
        return url
    if not parts.hostname:
        raise BadUrl(f"has no host, write {scheme}://HOST:6379/0")
    if port == 0:
        raise BadUrl("has port 0, write the port of Redis, such as 6379")
    database = parts.path.strip("/")
    if (database and not database.isascii()) or (database and not database.isdecimal()):
        raise BadUrl(f"the database must be a number, as in {scheme}://HOST:6379/0")
    return url


def _from_kombu(url: str) -> str:
    """Return ``unix://PATH?db=N`` for Kombu's ``redis+socket://PATH?virtual_host=N``."""
    parts = urlsplit(url)
    query = [("db" if name == "virtual_host" else name, value.strip("/")) for name, value in parse_qsl(parts.query)]
    user = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
    path = parts.path if parts.path.startswith("/") else unquote(parts.netloc)
    return f"unix://{user}{path}" + (f"?{urlencode(query)}" if query else "")
