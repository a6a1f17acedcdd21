"""What ``redis_url`` may say, and where its value comes from."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from runner.model.option import did_you_mean

EMBEDDED = "embedded"
_SCHEMES = ("redis", "rediss", "unix")
_CLUSTER_SCHEMES = ("redis+cluster", "rediss+cluster", "redis-cluster", "rediscluster", "rediscluster+tls")
_FORMS = "embedded, redis://HOST:6379/0, rediss://…, unix:///PATH, env:NAME or file:PATH"
_LONGEST = 8192


class BadUrl(ValueError):
    """What is wrong with a URL, and the remedy. Never holds a password."""


def mask(url: str) -> str:
    """Return ``url`` with ``***`` in place of any password."""
    masked = re.sub(r"^([a-z+-]+://[^/?]*?:).*@", r"\1***@", url, count=1, flags=re.IGNORECASE)
    return re.sub(r"([?&](?:password|ssl_password)=)[^&]*", r"\1***", masked, flags=re.IGNORECASE)


def look_up(value: str, project: Path, environ: Mapping[str, str]) -> str:
    """Return the URL that ``value`` means, in canonical form: ``env:`` and ``file:`` are looked up.

    Raises:
        BadUrl: with a message that fits after the option's name.
    """
    if value.startswith("env:"):
        name = value[4:]
        if not environ.get(name):
            is_set = "set but empty" if name in environ else "not set"
            raise BadUrl(f"the environment variable {name} is {is_set}, set it to the URL of your Redis")
        try:
            return canonical(environ[name].strip())
        except BadUrl as bad:
            raise BadUrl(f"the environment variable {name}: {bad}") from None
    if value.startswith("file:"):
        path = project / Path(value[5:]).expanduser()
        try:
            with path.open(encoding="utf-8") as file:
                text = file.read(_LONGEST).strip()
        except (OSError, UnicodeDecodeError) as error:
            why = getattr(error, "strerror", None) or "is not UTF-8"
            raise BadUrl(f"{path} can not be read ({why}), write the URL of your Redis into it") from None
        try:
            return canonical(text)
        except BadUrl as bad:
            raise BadUrl(f"{path}: {bad}") from None
    return canonical(value)


def canonical(url: str) -> str:
    """Return ``url`` as redis-py reads it: ``embedded``, ``redis://``, ``rediss://`` or ``unix://``.

    Raises:
        BadUrl: it is none of these, or is not complete.
    """
    if url == EMBEDDED:
        return url
    if not url:
        raise BadUrl(f"is empty, write {_FORMS}")
    scheme, colon, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme in _CLUSTER_SCHEMES or (scheme in ("redis", "rediss") and "," in rest.split("@")[-1].split("/")[0]):
        raise BadUrl(
            "Redis Cluster is not supported: a run's keys change in one step, and a cluster spreads them; "
            "write the URL of one server"
        )
    if scheme in ("sentinel", "redis+sentinel", "rediss+sentinel"):
        raise BadUrl("sentinel:// is not in this version, write the URL of the primary as redis://HOST:PORT/0")
    if scheme in ("redis+socket", "rediss+socket"):
        url = _from_kombu(url)
        scheme = "unix"
    if not colon or scheme not in _SCHEMES:
        if not colon:
            # Not shown: it may be a password that came from a file or a variable.
            raise BadUrl(f"is no URL{did_you_mean(url, [EMBEDDED]) or ', write ' + _FORMS}")
        swap = {"valkey": "redis", "valkeys": "rediss", "redis+tls": "rediss", "tcp": "redis", "redis+unix": "unix"}
        guess = f", did you mean {swap[scheme]}://?" if scheme in swap else did_you_mean(scheme, _SCHEMES)
        raise BadUrl(f"{scheme[:20]}:// is not supported{guess or ', write ' + _FORMS}")
    return _checked(f"{scheme}{url[len(scheme) :]}", scheme)


def _checked(url: str, scheme: str) -> str:
    if any(char.isspace() for char in url):
        raise BadUrl("holds a space, write %20 where one is meant")
    if "#" in url:
        raise BadUrl("holds a #, write %23 (in a password, also %2F for / and %40 for @)")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BadUrl(
            "has no sound host and port; in a password, special characters are written as %2F for /, %23 for #, "
            "%40 for @"
        ) from None
    if scheme == "unix":
        if parts.hostname or not parts.path.startswith("/"):
            raise BadUrl("unix:// wants an absolute path: unix:///run/redis/redis.sock?db=0")
        return url
    if not parts.hostname:
        raise BadUrl(f"has no host, write {scheme}://HOST:6379/0")
    if port == 0:
        raise BadUrl("has port 0, write the port Redis listens on, such as 6379")
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
