"""``${…}``: what it stands for in a run."""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.app.secret_sources import MissingSecret
from runner.attempt.run_values import ParamsRefused, expand_env, expand_kwargs
from runner.model.job import JobSpec
from runner.model.option import AnyJson, Path
from runner.model.template import Sources, Template, expand, placeholders

SOURCES = Sources("an-id", "2026-11-23T02:00:00.000Z", {"n": 3, "s": "a b", "list": [1, "ä"], "none": None}, {"X": "x"})


def filled(value: Any, sources: Sources = SOURCES) -> Any:
    return expand(value, sources.look_up)


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("${params.n}", 3),
        ("${params.list}", [1, "ä"]),
        ("${params.none}", None),
        ("${params.absent}", None),
        ("n=${params.n} s=${params.s} l=${params.list}", 'n=3 s=a b l=[1, "ä"]'),
        ("<${params.none}${params.absent}>", "<>"),
        ("${run.id}@${run.slot}", "an-id@2026-11-23T02:00:00.000Z"),
        ("${env.X}${env.X}", "xx"),
        ("$${params.n}", "${params.n}"),
        ("$$${params.n} $ $$ {} ${env.X}", "$${params.n} $ $$ {} x"),
        ({"deep": ["${params.n}", {"${params.n}": "${env.X}"}]}, {"deep": [3, {"${params.n}": "x"}]}),
        (["", 1, None, True, 1.5], ["", 1, None, True, 1.5]),
    ],
)
def test_what_it_stands_for(written: Any, value: Any) -> None:
    assert filled(written) == value


def test_what_a_param_gives_is_not_read_again() -> None:
    assert filled("${params.n} ${params.s}", Sources("id", None, {"n": "${env.X}", "s": "$${"})) == "${env.X} $${"


def test_without_a_slot_it_is_nothing() -> None:
    assert filled(["${run.slot}", "at ${run.slot}"], Sources("id")) == [None, "at "]


@given(st.text(alphabet="${}ax.nprams ", max_size=30))
def test_what_is_accepted_can_be_filled_in(text: str) -> None:
    faults: list[str] = []

    def report(path: Path, message: str, *, on_key: bool = False) -> None:
        faults.append(message)

    Template(AnyJson()).read(text, (), report)
    if not faults:
        filled(text)
        assert all(name.partition(".")[0] in ("run", "params", "env") for _, name in placeholders(text))


def test_kwargs_and_env_of_a_job() -> None:
    job = JobSpec(name="a", task="a:b", kwargs={"x": "${params.n}"}, env={"N": "${params.n}", "L": "${params.list}"})
    assert expand_kwargs(job, SOURCES) == {"x": 3}
    assert expand_env(job, SOURCES) == {"N": "3", "L": '[1, "ä"]'}


@pytest.mark.parametrize("text", ["a\0b", "half \ud800"])
def test_what_no_variable_can_hold(text: str) -> None:
    job = JobSpec(name="a", task="a:b", env={"N": "${params.s}"})
    with pytest.raises(ParamsRefused, match=r"env\.N"):
        expand_env(job, Sources("id", None, {"s": text}, os.environ))


def test_a_variable_that_is_not_set() -> None:
    job = JobSpec(name="a", task="a:b", kwargs={"x": ["${env.UNSET}"]})
    with pytest.raises(MissingSecret, match=r"kwargs\.x: \$\{env\.UNSET\}: the variable UNSET is not set"):
        expand_kwargs(job, SOURCES)
