"""``dataclass`` as in the standard library, but cheaper to apply to frozen classes.

The standard one compiles every method of every class on its own. For some hundred frozen classes that was half of the
processor time of ``runner submit``. Here frozen classes share the methods ``__repr__``, ``__eq__``, and ``__hash__``,
which behave like the generated ones. Python 3.13 compiles the methods of a class together.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import cache
from operator import attrgetter
from reprlib import recursive_repr
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
        made = dataclasses.dataclass(cls, eq=False, repr=False, **options)
        for method in (_repr, _eq, _hash):
            name = f"__{method.__name__.strip('_')}__"
            if name not in cls.__dict__:
                setattr(made, name, method)
        return made


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
