"""``dataclass`` as in the standard library, but cheaper to apply to frozen classes.

The standard one compiles every method of every class on its own. For some hundred frozen classes that was half of the
processor time of ``runner submit``. Here frozen classes share the methods ``__repr__``, ``__eq__``, ``__hash__``,
``__setattr__``, and ``__delattr__``, which behave like the generated ones, so that only ``__init__`` is compiled.
Python 3.13 compiles the methods of a class together.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from reprlib import recursive_repr
from types import FunctionType
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: type | None = None, /, **options: Any) -> Any:
        """Make a dataclass; the arguments are those of :func:`dataclasses.dataclass`."""
        if cls is None:
            return lambda cls: dataclass(cls, **options)
        if not options.get("frozen") or options.keys() & {"eq", "order", "repr", "unsafe_hash"}:
            return dataclasses.dataclass(cls, **options)
        made = _standard(cls, eq=False, repr=False, **options)
        for method in (_repr, _eq, _hash):
            name = f"__{method.__name__.strip('_')}__"
            if name not in cls.__dict__:
                setattr(made, name, method)
        return made


def _with(function: Any, **names: object) -> Any:
    """Return a copy of a function of the standard library that finds other things under these global names."""
    copy = FunctionType(function.__code__, {**function.__globals__, **names}, function.__name__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def _frozen(self: Any, name: str, what: str) -> None:
    """Raise an error if an attribute is frozen: those of a subclass that is not a dataclass are not."""
    cls: Any = type(self)
    if "__dataclass_fields__" in cls.__dict__ or name in cls.__dataclass_fields__:
        raise dataclasses.FrozenInstanceError(f"cannot {what} field {name!r}")


def _setattr(self: Any, name: str, value: object) -> None:
    _frozen(self, name, "assign to")
    object.__setattr__(self, name, value)


def _delattr(self: Any, name: str) -> None:
    _frozen(self, name, "delete")
    object.__delattr__(self, name)


# The standard library adds them under the names that they have.
_setattr.__name__, _delattr.__name__ = "__setattr__", "__delattr__"

_standard: Any = dataclasses.dataclass
if sys.version_info < (3, 13):
    _process = _with(dataclasses._process_class, _frozen_get_del_attr=lambda *_: (_setattr, _delattr))  # type: ignore[attr-defined]
    _standard = _with(dataclasses.dataclass, _process_class=_process)

_Getter = Callable[[object], tuple[Any, ...]]


@cache
def _compared(cls: Any) -> _Getter:
    return _getter([field.name for field in dataclasses.fields(cls) if field.compare])


@cache
def _hashed(cls: Any) -> _Getter:
    fields = dataclasses.fields(cls)
    return _getter([field.name for field in fields if (field.compare if field.hash is None else field.hash)])


def _getter(names: list[str]) -> _Getter:
    if len(names) > 1:
        return attrgetter(*names)
    return lambda value: tuple(getattr(value, name) for name in names)


@recursive_repr()
def _repr(self: Any) -> str:
    shown = [f"{field.name}={getattr(self, field.name)!r}" for field in dataclasses.fields(self) if field.repr]
    return f"{type(self).__qualname__}({', '.join(shown)})"


def _eq(self: Any, other: object) -> Any:
    if other.__class__ is not self.__class__:
        return NotImplemented
    cls: Any = self.__class__
    values = _compared(cls)
    return values(self) == values(other)


def _hash(self: object) -> int:
    cls: Any = self.__class__
    return hash(_hashed(cls)(self))
