"""Handle exceptions whose classes lie about their type, or raise when asked for it."""

from __future__ import annotations

from runner.ledger.outcome import MESSAGE_LENGTH
from runner.model.storable import names_of, short_text

_TRACEBACK = BaseException.__dict__["__traceback__"]


def honest(error: BaseException) -> BaseException:
    """Return ``error`` if ``isinstance`` works on it; otherwise a plain exception with the same name and message.

    ``isinstance`` reads ``__class__``. An exception from there, such as ``SystemExit(0)``, would become the outcome.
    """
    cls = type(error)
    try:
        if error.__class__ is cls:
            return error
    except BaseException:  # noqa: BLE001, S110 - somebody's class, which may raise anything
        pass
    module, name = names_of(cls)
    kind: type[BaseException] = Exception if issubclass(cls, Exception) else BaseException
    twin: type[BaseException] = type(name, (kind,), {"__module__": module})
    made = twin(short_text(error, MESSAGE_LENGTH, say=str))
    return made.with_traceback(_TRACEBACK.__get__(error))
