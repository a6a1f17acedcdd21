"""Check the formats of params with the standard library.

The checkers of jsonschema are not used, for these reasons (jsonschema 4.26):

- For ``date``, ``uuid``, ``ipv4``, and ``ipv6`` they agree with ours, which do not need to import jsonschema: see
  :mod:`runner.params.plain`.
- The others need ``jsonschema[format-nongpl]``, except ``email`` and ``regex``. With its packages, each import of
  jsonschema takes 1.1 s of CPU time instead of 0.1 s: rfc3987-syntax builds a parser for ``uri``.
- ``date-time``, ``time``, ``hostname``, and ``uri`` accept a newline at the end, which would break a header.
- ``date-time`` and ``time`` refuse leap seconds, and ``date-time`` refuses a space instead of ``T``, although RFC 3339
  allows both.
- ``duration`` accepts ``-P1D`` and ``PT1.5S``, which RFC 3339 does not have.
- ``email`` accepts any text with an ``@``, even with spaces, or with a newline and another header.
- ``regex`` compiles the pattern, which takes 1 s for 1,000 characters of case-insensitive classes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from datetime import date, time
from re import _parser  # type: ignore[attr-defined]  # no public function only parses

from runner.model.regex import MOST_PATTERN

_parse: Callable[[str], object] = _parser.parse

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_TIME = re.compile(r"([0-9]{2}:[0-9]{2}:[0-9]{2})(\.[0-9]+)?([Zz]|[-+][0-9]{2}:[0-9]{2})\Z")
_DURATION = re.compile(
    r"P(?:[0-9]+W|(?=[0-9T])(?:[0-9]+Y)?(?:[0-9]+M)?(?:[0-9]+D)?(?:T(?=[0-9])(?:[0-9]+H)?(?:[0-9]+M)?(?:[0-9]+S)?)?)\Z"
)
_LABEL = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)\Z")
_EMAIL = re.compile(r"[^@\s\x00-\x1f\"]+@[^@\s]+\Z")
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`]*\Z")


def _is_date(text: str) -> bool:
    if not _DATE.match(text):
        return False
    date.fromisoformat(text)
    return True


def _is_time(text: str) -> bool:
    match = _TIME.match(text)
    if match is None:
        return False
    # RFC 3339 allows leap seconds, and `time` does not.
    clock = match[1][:-2] + "59" if match[1].endswith(":60") else match[1]
    time.fromisoformat(clock)
    offset = match[3]
    return offset in "Zz" or (int(offset[1:3]) < 24 and int(offset[4:6]) < 60)


def _is_date_time(text: str) -> bool:
    return len(text) > 11 and text[10] in "Tt " and _is_date(text[:10]) and _is_time(text[11:])


def _is_duration(text: str) -> bool:
    return bool(_DURATION.match(text)) and text not in ("P", "PT")


def _is_hostname(text: str) -> bool:
    return 0 < len(text) <= 253 and all(_LABEL.match(label) for label in text.removesuffix(".").split("."))


def _is_email(text: str) -> bool:
    return bool(_EMAIL.match(text)) and len(text) <= 320


def _is_uri(text: str) -> bool:
    if not _URI.match(text):
        return False
    from urllib.parse import urlsplit  # start-up time: few params are URIs

    urlsplit(text)
    return True


def _is_uuid(text: str) -> bool:
    return bool(_UUID.match(text))


def _is_ipv4(text: str) -> bool:
    import ipaddress  # start-up time: few params are addresses

    ipaddress.IPv4Address(text)
    return True


def _is_ipv6(text: str) -> bool:
    import ipaddress  # start-up time: few params are addresses

    ipaddress.IPv6Address(text)
    return "%" not in text


def _is_regex(text: str) -> bool:
    # The job uses the pattern as it likes; this check must be fast, and must not print warnings.
    if len(text) > MOST_PATTERN:
        return False
    try:
        with warnings.catch_warnings(action="ignore"):
            # Not compiled: that takes seconds for some case-insensitive patterns.
            _parse(text)
    except (re.error, RecursionError, OverflowError):
        return False
    return True


FORMATS: dict[str, tuple[Callable[[str], bool], str]] = {
    "date": (_is_date, "a date such as 2026-11-23"),
    "date-time": (_is_date_time, "a time with date and offset such as 2026-11-23T02:00:00Z"),
    "time": (_is_time, "a time of day with offset such as 02:00:00Z"),
    "duration": (_is_duration, "an ISO 8601 duration such as PT15M"),
    "email": (_is_email, "an address such as ops@example.org"),
    "hostname": (_is_hostname, "a host name such as db.example.org"),
    "ipv4": (_is_ipv4, "an IPv4 address such as 192.0.2.1"),
    "ipv6": (_is_ipv6, "an IPv6 address such as 2001:db8::1"),
    "uri": (_is_uri, "a URI such as https://example.org/x"),
    "uuid": (_is_uuid, "a UUID such as 0b8a3f0e-6d0c-4c4e-9f0a-2f1d3c5b7a90"),
    "regex": (_is_regex, "a regular expression of at most 1,000 characters"),
}
"""For each format, the check of a text (which may raise ValueError) and a description with an example."""


def fits_format(value: object, name: str) -> bool:
    """Return whether ``value`` has the format ``name``. As in JSON Schema, values other than text always do."""
    if not isinstance(value, str):
        return True
    try:
        return bool(FORMATS[name][0](value))
    except ValueError:
        return False
