"""Authenticate requests, by tokens, the token of this start, a trusted proxy, or access from this host.

Each role includes those before it: ``read`` permits reading; ``operate`` submitting, revoking, rerunning, and
approving; ``admin`` pausing, forgetting, and editing job files.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import field
from enum import IntEnum

from runner._dataclass import dataclass
from runner.errors import InvalidSettings, RunnerError
from runner.settings.options import WebSettings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SESSION_SECONDS = 12 * 3600.0
FAILURES = 10
"""How many logins from one address may fail within :data:`FAILURE_SECONDS` before it has to wait."""
FAILURE_SECONDS = 60.0
MOST_ADDRESSES = 10_000
MOST_SESSIONS = 10_000
_WILDCARDS = ("", "0.0.0.0", "::")  # noqa: S104 - to tell them apart, not to listen on


class Role(IntEnum):
    """The permissions of a person; each role includes those before it."""

    READ = 1
    OPERATE = 2
    ADMIN = 3


class NotAllowed(RunnerError):
    """The request is not authenticated, or the person's role does not permit it."""

    code = "not_allowed"
    exit_code = 5

    def __init__(self, message: str, hint: str | None = None, status: int = 403) -> None:
        super().__init__(message, hint=hint)
        self.status = status


@dataclass(frozen=True, slots=True)
class Person:
    """The person who makes a request. The token in their forms is derived from ``session``."""

    name: str
    role: Role
    session: str


@dataclass(slots=True)
class _Session:
    person: Person
    ends: float


@dataclass
class Access:
    """Finds the person behind a request, from its token, session, or header."""

    settings: WebSettings
    host: str
    """The address on which the server listens."""
    start_token: str | None = None
    """A token for this start of the server, which makes its owner an administrator."""
    on_failure: Callable[[str], None] = lambda _: None
    """Called with the address of each token that was refused."""
    _link_unused: bool = True
    _names: frozenset[str] = frozenset()
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    _sessions: dict[str, _Session] = field(default_factory=dict)
    _failures: dict[str, deque[float]] = field(default_factory=dict)
    _mutex: threading.Lock = field(default_factory=threading.Lock)
    _proxies: tuple[Network, ...] = ()

    def __post_init__(self) -> None:
        unauthenticated = not self.settings.tokens and self.settings.trusted_header is None
        if unauthenticated and not is_loopback(self.host):
            raise InvalidSettings(
                f"web: without tokens or trusted_header, anybody who reaches {self.host} could run jobs",
                hint="create a token with runner web --new-token NAME, or listen on 127.0.0.1",
            )
        if self.settings.trusted_header is not None and not self.settings.hosts and not is_loopback(self.host):
            raise InvalidSettings(
                f"web.trusted_header needs web.hosts to listen on {self.host}: a page of another site could send "
                "requests on behalf of its visitors",
                hint="add the names that browsers use, such as hosts: [runner.example.com], or listen on 127.0.0.1",
            )
        own = () if is_wildcard(self.host) else (self.host,)
        self._names = frozenset(_plain_name(name) for name in (*self.settings.hosts, *own))
        self._proxies = tuple(ipaddress.ip_network(network) for network in self.settings.trusted_proxies)

    @property
    def open(self) -> bool:
        """Whether everybody on this host is an administrator."""
        return not self.takes_tokens and self.settings.trusted_header is None

    @property
    def takes_tokens(self) -> bool:
        """Whether there is any token."""
        return bool(self.settings.tokens) or self.start_token is not None

    def of_token(self, token: str, address: str) -> Person | None:
        """Return the owner of a token, or None if the token is unknown.

        A valid token is accepted even if there were too many failures from its address.

        Raises:
            NotAllowed: the token is unknown, and there were too many failures from this address.
        """
        digest = hashlib.sha256(token.encode()).hexdigest()
        found = None
        if self._is_start_token(token):
            found = Person("local", Role.ADMIN, "token:")
        for name, known in self.settings.tokens.items():
            # Compare with every token, so that the time does not depend on which one matches.
            if hmac.compare_digest(digest, known.sha256):
                found = Person(name, Role[known.role.upper()], f"token:{name}")
        if found is None:
            self.refuse(address)
        return found

    def refuse(self, address: str) -> None:
        """Count a failure of ``address``.

        Raises:
            NotAllowed: there were too many failures before.
        """
        self._refuse_guessing(address)
        self._note_failure(address)

    def open_link(self, token: str, address: str) -> str | None:
        """Start a session for the link with the token of this start, and return the id of the session.

        The link works once. Return None if it was used before, or if the token is wrong.

        Raises:
            NotAllowed: the token is wrong, and there were too many failures from this address.
        """
        person = self.of_token(token, address)
        if person is None:
            return None
        with self._mutex:
            unused, self._link_unused = self._link_unused, False
        return self._begin(person) if unused else None

    def _is_start_token(self, token: str) -> bool:
        return self.start_token is not None and hmac.compare_digest(self.start_token.encode(), token.encode())

    def is_proxy(self, address: str) -> bool:
        """Return whether ``address`` is one of ``web.trusted_proxies``."""
        found = _address(address)
        return found is not None and any(found in network for network in self._proxies)

    def origin_of(self, address: str, forwarded: str) -> str:
        """Return the client's address: ``address``, or the one in ``X-Forwarded-For`` if a trusted proxy sent it."""
        for entry in reversed(forwarded.split(",")):
            before = _forwarded_address(entry)
            if before is None or not self.is_proxy(address):
                break
            address = before
        return address

    def of_header(self, name: str, address: str) -> Person | None:
        """Return the person whom a trusted proxy names in its header, or None."""
        if self.settings.trusted_header is None or not name or not self.is_proxy(address):
            return None
        return Person(name[:128], Role[self.settings.trusted_role.upper()], f"proxy:{name[:128]}")

    def is_host(self, name: str, connected: str = "") -> bool:
        """Return whether ``name`` in a Host header means this server.

        Anybody can point a name of their own at this server, and pages of that name would have the same origin as ours
        (DNS rebinding). That is impossible with the address ``connected`` to which the client connected.
        """
        plain, address = _plain_name(name), _address(connected)
        return is_loopback(name) or plain in self._names or (address is not None and plain == str(address))

    def of_nobody(self) -> Person | None:
        """Return the person for a request without credentials: an administrator if :attr:`open`, otherwise None."""
        return Person("local", Role.ADMIN, "local") if self.open else None

    def log_in(self, token: str, address: str) -> str | None:
        """Start a session, and return its id; None if the token is unknown. Raises as :meth:`of_token`."""
        person = self.of_token(token, address)
        return self._begin(person) if person is not None else None

    def _begin(self, person: Person) -> str:
        now = time.monotonic()
        session = secrets.token_urlsafe(32)
        with self._mutex:
            gone = [key for key, known in self._sessions.items() if known.ends <= now]
            # Sessions are in the order of their start, so the oldest ones make room.
            gone += list(self._sessions)[len(gone) : max(0, len(self._sessions) - MOST_SESSIONS + 1)]
            for key in gone:
                del self._sessions[key]
            self._sessions[session] = _Session(Person(person.name, person.role, session), now + SESSION_SECONDS)
        return session

    def log_out(self, session: str) -> None:
        """End a session."""
        with self._mutex:
            self._sessions.pop(session, None)

    def of_session(self, session: str) -> Person | None:
        """Return the owner of a session, or None if there is no such session."""
        found = self._sessions.get(session)
        return found.person if found is not None and found.ends > time.monotonic() else None

    def form_token(self, person: Person) -> str:
        """Return the token in this person's forms, which other sites cannot know."""
        return hmac.new(self._secret, person.session.encode(), "sha256").hexdigest()

    def is_form_token(self, person: Person, token: str) -> bool:
        """Return whether ``token`` is the one in this person's forms."""
        return hmac.compare_digest(self.form_token(person).encode(), token.encode())

    def _refuse_guessing(self, address: str) -> None:
        oldest = time.monotonic() - FAILURE_SECONDS
        with self._mutex:
            recent = [at for at in self._failures.get(neighbourhood(address), ()) if at > oldest]
        if len(recent) >= FAILURES:
            raise NotAllowed("too many failed logins from this address", hint="wait a minute", status=429)

    def _note_failure(self, address: str) -> None:
        self.on_failure(address)
        with self._mutex:
            # The latest failure goes to the end, so that the address with the oldest one is dropped first.
            recent = self._failures.pop(key := neighbourhood(address), None) or deque(maxlen=FAILURES)
            recent.append(time.monotonic())
            self._failures[key] = recent
            if len(self._failures) > MOST_ADDRESSES:
                self._failures.pop(next(iter(self._failures)))


def is_wildcard(host: str) -> bool:
    """Return whether ``host`` stands for all addresses of this host."""
    return _plain_name(host) in _WILDCARDS


def is_loopback(host: str) -> bool:
    """Return whether only this host can reach ``host``."""
    name = _plain_name(host)
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _plain_name(name: str) -> str:
    """Return a host name in lower case, or an address in the canonical form of ``ipaddress``."""
    bare = name.strip("[]").lower()
    try:
        return str(ipaddress.ip_address(bare))
    except ValueError:
        return bare


def _forwarded_address(text: str) -> str | None:
    """Return the address in an entry of X-Forwarded-For, which may have a port: ``IPv4:port``, ``[IPv6]:port``."""
    entry = text.strip().strip('"')
    port = ""
    if entry.startswith("["):
        entry, closed, port = entry[1:].partition("]")
        if not closed or (port and not port.startswith(":")):
            return None
        port = port[1:]
    elif entry.count(":") == 1:
        entry, _, port = entry.partition(":")
    address = _address(entry)
    return str(address) if address is not None and (not port or (port.isascii() and port.isdigit())) else None


def _address(text: str) -> Address | None:
    try:
        found = ipaddress.ip_address(text.strip())
    except ValueError:
        return None
    return getattr(found, "ipv4_mapped", None) or found


def neighbourhood(address: str) -> str:
    """Return the address itself, or for IPv6 its /64 network, which one host usually owns."""
    found = _address(address)
    if isinstance(found, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found or address)


def new_token() -> tuple[str, str]:
    """Return a new token and its SHA-256 in hex."""
    token = secrets.token_urlsafe(32)
    return token, hashlib.sha256(token.encode()).hexdigest()
