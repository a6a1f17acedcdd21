"""The shared methods of frozen dataclasses behave like those that the standard library generates."""

from __future__ import annotations

import copy
import dataclasses
import math
import pickle
from collections.abc import Callable
from typing import Any

import pytest

from runner import _dataclass
from runner._dataclass import dataclass


def _three(make: Any) -> list[type]:
    class Point:
        """A class with fields that are left out of some methods."""

        x: int
        y: Any = 0
        note: str = dataclasses.field(default="", compare=False)
        secret: str = dataclasses.field(default="", repr=False)
        odd: int = dataclasses.field(default=0, hash=False)

    class Empty:
        """A class without fields."""

    class Own:
        """A class with methods of its own."""

        x: int = 0

        def __repr__(self) -> str:
            return "mine"

        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return 7

    for cls in (Point, Empty, Own):
        # Where the annotations are evaluated, the fields are found by their names alone.
        cls.__qualname__ = cls.__name__
    return [make(cls, frozen=True, slots=True) for cls in (Point, Empty, Own)]


OURS, THEIRS = _three(_dataclass.dataclass), _three(dataclasses.dataclass)
NAN = math.nan
ARGUMENTS: list[tuple[Any, ...]] = [
    (1,),
    (1, 2),
    (1, 2, "other note"),
    (1, 2, "", "other secret"),
    (1, 2, "", "", 5),
    (NAN,),
    (1, [2]),
    (True,),
    (1.0, "x"),
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=repr)
def test_repr_equality_and_hash_are_those_of_the_standard_library(arguments: tuple[Any, ...]) -> None:
    ours, theirs = OURS[0](*arguments), THEIRS[0](*arguments)
    assert repr(ours) == repr(theirs)
    for others in ARGUMENTS:
        assert (ours == OURS[0](*others)) is (theirs == THEIRS[0](*others)), others
        assert (ours != OURS[0](*others)) is (theirs != THEIRS[0](*others)), others
    assert ours.__eq__(theirs) is NotImplemented
    try:
        expected: object = hash(theirs)
    except TypeError:
        expected = TypeError
    if expected is TypeError:
        with pytest.raises(TypeError, match="unhashable"):
            hash(ours)
    else:
        assert hash(ours) == expected


@pytest.mark.parametrize("number", [1, 2])
def test_classes_without_fields_and_with_methods_of_their_own(number: int) -> None:
    ours, theirs = OURS[number], THEIRS[number]
    assert repr(ours()) == repr(theirs())
    assert hash(ours()) == hash(theirs())
    assert ours() == ours()
    assert (ours() == 1) is (theirs() == 1)


@dataclass(frozen=True, slots=True)
class Node:
    """A value that can hold itself."""

    name: str
    below: list[Any] = dataclasses.field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaf(Node):
    """A subclass."""

    size: int = 0


def test_frozen_copied_pickled_replaced_and_recursive() -> None:
    leaf: Any = Leaf(name="a", size=3)
    assert leaf != Node("a")
    assert repr(leaf) == "Leaf(name='a', below=[], size=3)"
    for twin in (copy.deepcopy(leaf), pickle.loads(pickle.dumps(leaf)), dataclasses.replace(leaf)):
        assert twin == leaf
    assert dataclasses.replace(leaf, size=4) != leaf
    with pytest.raises(dataclasses.FrozenInstanceError):
        leaf.size = 4
    node: Any = Node("a")
    node.below.append(node)
    assert repr(node) == "Node(name='a', below=[...])"


def _changes(made: Any) -> list[str]:
    """Return the outcomes of changes to an instance, and to one of a subclass that was not made a dataclass."""

    class More(made):  # type: ignore[misc]
        """A class with attributes of its own."""

    def outcome(act: Callable[..., None], *arguments: object) -> str:
        try:
            act(*arguments)
        except AttributeError as error:
            return f"{type(error).__name__}: {error}"
        return "done"

    values = (made(1), More(1))
    changes = [
        (setattr, value, name, 2) if act is setattr else (delattr, value, name)
        for value in values
        for name in ("x", "other")
        for act in (setattr, delattr)
    ]
    return [outcome(act, *arguments) for act, *arguments in changes]


def test_what_is_frozen_is_what_the_standard_library_freezes() -> None:
    # With slots, that of Python 3.11 raises TypeError for other names than those of fields.
    theirs = _changes(_three(lambda cls, **_: dataclasses.dataclass(cls, frozen=True))[0])
    assert _changes(OURS[0]) == theirs
    assert theirs.count("done") == 2


def test_other_dataclasses_are_those_of_the_standard_library() -> None:
    @dataclass(frozen=True, order=True)
    class Ordered:
        x: int

    @dataclass
    class Open:
        x: int

    assert sorted([Ordered(2), Ordered(1)]) == [Ordered(1), Ordered(2)]
    assert Open(1) == Open(1)
    assert Open.__dict__["__hash__"] is None
    assert "__eq__" in Open.__dict__
