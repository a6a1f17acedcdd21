"""Read and check ``broker_url``, the URL of a RabbitMQ that notifies workers; without it, Redis notifies them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from runner._dataclass import dataclass
from runner.model.option import did_you_mean
from runner.settings.redis_url import BadUrl, canonical, look_up

_SCHEMES = {"amqp": "amqp", "pyamqp": "amqp", "amqps": "amqps", "pyamqps": "amqps"}
_PORTS = {"amqp": 5672, "amqps": 5671}
_FORM = "amqp://USER:PASSWORD@HOST:5672/VHOST, amqps://…, env:NAME, or file:PATH"
_ADVICE = "write it in percent-encoding: %2F for /, %23 for #, %40 for @"

_OPTIONS = {
    # The names of RabbitMQ first, then those of Kombu and py-amqp.
    "cacertfile": "ca_certs",
    "cafile": "ca_certs",
    "ca_certs": "ca_certs",
    "ssl_ca_certs": "ca_certs",
    "certfile": "certfile",
    "ssl_certfile": "certfile",
    "keyfile": "keyfile",
    "ssl_keyfile": "keyfile",
    "verify": "verify",
    "cert_reqs": "verify",
    "ssl_cert_reqs": "verify",
    "server_name_indication": "server_hostname",
    "server_hostname": "server_hostname",
    "ssl_server_hostname": "server_hostname",
}
_OF_TLS = frozenset(_OPTIONS)
_VERIFY = {"verify_peer": True, "cert_required": True, "required": True, "verify_none": False, "cert_none": False}
_VERIFY |= {"none": False}
_FILES = ("ca_certs", "certfile", "keyfile")


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """The address of one RabbitMQ server, and the login. ``tls``: the options of TLS, or None without TLS."""

    host: str
    port: int
    user: str
    password: str
    vhost: str
    tls: Mapping[str, Any] | None = None

    @property
    def shown(self) -> str:
        """The address without the password."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        scheme = "amqp" if self.tls is None else "amqps"
        return f"{scheme}://{quote(self.user, safe='')}@{host}:{self.port}/{quote(self.vhost, safe='')}"

    @property
    def url(self) -> str:
        """The address with the password, for Kombu; options of TLS are in :attr:`tls`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        login = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}"
        return f"amqp://{login}@{host}:{self.port}/{quote(self.vhost, safe='')}"


def look_up_broker(value: str | None, redis_url: str, project: Path, environ: Mapping[str, str]) -> str | None:
    """Return the URL of RabbitMQ for ``value``; None if the broker is the Redis of ``redis_url``.

    Raises:
        BadUrl: with a message that fits after the option's name.
    """
    if value is None:
        return None
    url = look_up(value, project, environ, of="RabbitMQ", read=lambda found: found)
    scheme = url.partition("://")[0].lower()
    if scheme in _SCHEMES:
        if ";" not in url:
            read_broker(url)
            return url
        parts = [part for part in url.split(";") if part]
        for part in parts:
            read_broker(part)
        return ";".join(parts)
    try:
        found = canonical(url)
    except BadUrl:
        guess = did_you_mean(scheme, list(_SCHEMES)) if "://" in url else ""
        named = f"{scheme[:20]}:// is not supported" if "://" in url else "is not a URL"
        raise BadUrl(f"{named}{guess or ', write ' + _FORM}") from None
    if found != redis_url:
        raise BadUrl(
            "is another Redis or database than redis_url, but record and message are written in one step; "
            "remove broker_url, or write amqp:// for RabbitMQ"
        )
    return None


def read_brokers(url: str) -> tuple[BrokerAddress, ...]:
    """Return the addresses in a valid ``broker_url``, in the order in which they are tried."""
    return tuple(read_broker(part) for part in url.split(";"))


def read_broker(url: str) -> BrokerAddress:
    """Parse ``amqp[s]://[USER:PASSWORD@]HOST[:PORT][/VHOST][?OPTION=VALUE…]``.

    Raises:
        BadUrl: it does not have this form.
    """
    scheme = _SCHEMES.get(url.partition("://")[0].lower(), "")
    if any(char.isspace() for char in url):
        raise BadUrl("has a space, write %20 instead")
    if "#" in url:
        raise BadUrl(f"has a #; in a password, {_ADVICE}")
    try:
        parts = urlsplit(f"{scheme}{url[url.index('://') :]}")
        port = parts.port
    except ValueError:
        raise BadUrl(f"has no valid host and port; in a password, {_ADVICE}") from None
    if not parts.hostname:
        raise BadUrl(f"has no host, write {scheme}://HOST:{_PORTS[scheme]}/VHOST")
    if "," in parts.netloc.rpartition("@")[2]:
        raise BadUrl("has several hosts, write a URL for each of them, separated by ;")
    if port == 0:
        raise BadUrl(f"has port 0, write the port of RabbitMQ, such as {_PORTS[scheme]}")
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    if "/" in parts.path.removeprefix("/").removesuffix("/"):
        raise BadUrl("has a / in the virtual host, write %2F")
    options = _read_options(parts.query, scheme)
    user, password = unquote(parts.username or "") or "guest", unquote(parts.password or "")
    if parts.username is None:
        password = "guest"  # noqa: S105 - the default of RabbitMQ, which accepts it only from its own host
    return BrokerAddress(
        unquote(parts.hostname), port or _PORTS[scheme], user, password, vhost, options if scheme == "amqps" else None
    )


def _read_options(query: str, scheme: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in parse_qsl(query, keep_blank_values=True):
        known = _OPTIONS.get(name)
        if known is None:
            raise BadUrl(f"has an option {name[:40]}{did_you_mean(name, list(_OPTIONS)) or ', which is unknown'}")
        if scheme != "amqps":
            raise BadUrl(f"has {name} in a URL without TLS, begin it with amqps://, or remove {name}")
        if known == "verify":
            word = value.strip().lower().removeprefix("ssl.")
            if word not in _VERIFY:
                raise BadUrl(f"has {name}={value[:40]}, write verify_peer or verify_none")
            found[known] = _VERIFY[word]
        elif not value:
            raise BadUrl(f"has {name} without a value")
        else:
            found[known] = value
    return found


def broker_secrets(url: str | None, *, hidden: bool) -> tuple[str, ...]:
    """Return the secrets in a valid ``broker_url``: passwords, decoded and as written.

    Args:
        url: the URL in canonical form.
        hidden: whether the whole URL except its scheme is a secret, because it came from a variable or a file.
    """
    if url is None:
        return ()
    found: list[str] = []
    for part in url.split(";"):
        written = urlsplit(part).password
        if written:
            found += [unquote(written), written]
        if hidden:
            found.append(part.partition("://")[2])
    return tuple(dict.fromkeys(found))
