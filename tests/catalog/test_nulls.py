"""A key without a value: it resets what was inherited, or is wrong, but never switches a check off."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.catalog.catalog import Catalog, load_catalog, load_files
from runner.errors import InvalidSettings
from runner.model.job import JobSpec
from runner.model.keyword import PARAM_KEYWORDS, VALUE_KEYWORDS
from runner.model.option import Section, options_of
from runner.model.schedule import Schedules
from runner.settings import Settings, load_settings

KEYWORDS = sorted(PARAM_KEYWORDS.keys() - VALUE_KEYWORDS)


def sections(cls: type, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the path of each mapping of options: ``()`` for the whole, ``("retry",)`` and so on."""
    yield path
    for option in options_of(cls):
        kind = option.type.section if isinstance(option.type, Schedules) else option.type
        if isinstance(kind, Section):
            yield from sections(kind.cls, (*path, option.key))


def at(path: tuple[str, ...], value: Any) -> dict[str, Any]:
    for key in reversed(path):
        value = {key: value}
    return dict(value)


def load(tmp_path: Path, content: dict[str, Any]) -> Catalog:
    path = tmp_path / "jobs.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
    return load_files([path], base=tmp_path)


def told(catalog: Catalog) -> list[tuple[str, str]]:
    return [(problem.path, problem.message) for problem in catalog.problems]


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_keyword_of_a_param_without_a_value(tmp_path: Path, keyword: str) -> None:
    empty = {"p": {"type": "string", keyword: None}}
    inherited = {"p": {"title": "a"} if keyword != "title" else {"description": "a"}}
    alone = {"jobs": {"a": {"task": "a:b", "params": empty}}}
    over = {"defaults": {"params": inherited}, "jobs": {"a": {"task": "a:b", "params": empty}}}
    for content in (alone, over):
        catalog = load(tmp_path, content)
        assert [path for path, _ in told(catalog)] == [f"jobs.a.params.p.{keyword}"]
        assert "nothing" in told(catalog)[0][1]
        assert not catalog.jobs
        problem = catalog.problems[0]
        assert keyword in problem.source
        assert problem.line > 3
    catalog = load(tmp_path, {"defaults": {"params": empty}, "jobs": {"a": {"task": "a:b"}}})
    assert [path for path, _ in told(catalog)] == [f"defaults.params.p.{keyword}"]
    assert not catalog.jobs


def test_a_null_takes_an_inherited_keyword_away(tmp_path: Path) -> None:
    (tmp_path / "jobs.d").mkdir()
    settings = "defaults: {params: {p: {type: integer, minimum: 3, maximum: 5}}, secrets: {K: 'env:K'}}\n"
    (tmp_path / "runner.yaml").write_text(settings)
    (tmp_path / "jobs.d" / "a.yaml").write_text(
        "defaults: {params: {p: {minimum: null}}, secrets: {K: null}}\n"
        "jobs:\n  a: {task: a:b}\n  b: {task: a:b, params: {p: {maximum: null}}}\n  c: {task: a:b, params: {p: null}}\n"
    )
    catalog = load_catalog(load_settings(str(tmp_path)), use_cache=False)
    assert told(catalog) == []
    assert not catalog.jobs["a"].secrets
    assert dict(catalog.jobs["a"].params["p"].schema) == {"type": "integer", "maximum": 5}
    assert dict(catalog.jobs["b"].params["p"].schema) == {"type": "integer"}
    assert not catalog.jobs["c"].params


@pytest.mark.parametrize(
    ("schema", "path", "message"),
    [
        ({"requird": None}, "requird", "unknown keyword of JSON Schema, did you mean required?"),
        ({"requird": None, "type": "string"}, "requird", "unknown keyword of JSON Schema, did you mean required?"),
        ({"items": {"typ": None}}, "items.typ", "unknown keyword of JSON Schema, did you mean type?"),
        ({"items": {"minLength": None}}, "items.minLength", "expected a whole number"),
        ({"items": None}, "items", "expected a schema"),
        ({"properties": {"a": None}}, "properties.a", "expected a schema"),
        ({"anyOf": [None]}, "anyOf[0]", "expected a schema"),
        ({"enum": None}, "enum", "expected a list"),
        ({"$ref": None}, "$ref", "references are not supported"),
    ],
)
def test_a_schema_with_holes(tmp_path: Path, schema: dict[str, Any], path: str, message: str) -> None:
    for content in (
        {"jobs": {"a": {"task": "a:b", "params": {"p": schema}}}},
        {"defaults": {"params": {"p": {"title": "x"}}}, "jobs": {"a": {"task": "a:b", "params": {"p": schema}}}},
    ):
        [(where, what)] = told(load(tmp_path, content))
        assert where == f"jobs.a.params.p.{path}"
        assert what.startswith(message)


@pytest.mark.parametrize("path", [*sections(JobSpec)], ids=".".join)
def test_an_unknown_option_of_a_job_without_a_value(tmp_path: Path, path: tuple[str, ...]) -> None:
    unknown = at(path, {"zzz_unknown": None})
    schedule = {"schedule": {"every": "1h", **unknown["schedule"]}} if path == ("schedule",) else {}
    known: dict[str, Any] = {
        "tags": ["x"],
        "retry": {"delay": "5s"},
        "schedule": {"every": "1h"},
        "concurrency": {"limit": 1},
        "rate": {"limit": 1, "per": "1s"},
        "unique": {"for": "1h"},
        "hooks": {"success": []},
        "retention": {"runs": 5},
        "params": {"path": {"type": "string"}},
        "watch": {"path": "inbox/*"},
        "webhook": {"signature": "token", "secret": "env:TOKEN"},
    }
    if path == ("watch",):
        unknown["params"] = known["params"]
    needed = {name: {**known[name], **unknown[name]} for name in unknown if isinstance(known.get(name), dict)}
    option = ".".join((*path, "zzz_unknown"))
    for content, where in (
        ({"jobs": {"a": {"task": "a:b", **unknown, **needed, **schedule}}}, "jobs.a"),
        ({"defaults": known, "jobs": {"a": {"task": "a:b", **unknown}}}, "jobs.a"),
        ({"defaults": {**unknown, **needed, **schedule}, "jobs": {"a": {"task": "a:b"}}}, "defaults"),
    ):
        catalog = load(tmp_path, content)
        assert f"{where}.{option}" in [option_path for option_path, _ in told(catalog)], content
        assert all("unknown option" in message for _, message in told(catalog))
        assert not catalog.jobs


@pytest.mark.parametrize("path", [*sections(Settings)], ids=".".join)
def test_an_unknown_setting_without_a_value(tmp_path: Path, path: tuple[str, ...], monkeypatch: Any) -> None:
    (tmp_path / "jobs.d").mkdir()
    unknown = yaml.safe_dump(at(path, {"zzz_unknown": None}))
    (tmp_path / "runner.yaml").write_text(unknown)
    with pytest.raises(InvalidSettings, match=r"zzz_unknown: unknown"):
        load_settings(str(tmp_path))
    (tmp_path / "runner.yaml").write_text("namespace: a\nworker: {concurrency: 1}\nlimits: {log: 1MiB}\n")
    (tmp_path / "runner.prod.yaml").write_text(unknown)
    monkeypatch.setenv("RUNNER_ENV", "prod")
    with pytest.raises(InvalidSettings, match=r"zzz_unknown: unknown"):
        load_settings(str(tmp_path))


def test_a_secret_without_a_source(tmp_path: Path) -> None:
    empty = {"secrets": {"KEY": None}}
    for content, where in (
        ({"jobs": {"a": {"task": "a:b", **empty}}}, "jobs.a"),
        ({"defaults": {"secrets": {"OTHER": "env:OTHER"}}, "jobs": {"a": {"task": "a:b", **empty}}}, "jobs.a"),
        ({"defaults": empty, "jobs": {"a": {"task": "a:b"}}}, "defaults"),
    ):
        catalog = load(tmp_path, content)
        assert [path for path, _ in told(catalog)] == [f"{where}.secrets.KEY"]
        assert not catalog.jobs
    catalog = load(tmp_path, {"defaults": {"secrets": {"KEY": "env:KEY"}}, "jobs": {"a": {"task": "a:b", **empty}}})
    assert not told(catalog)
    assert not catalog.jobs["a"].secrets


def test_names_are_checked_also_without_a_value(tmp_path: Path) -> None:
    for option, name in (("env", "A-B"), ("secrets", "A-B"), ("params", "a-b"), ("kwargs", "a-b")):
        for defaults in ({}, {"defaults": {"env": {"X": "x"}, "secrets": {"Y": "env:Y"}, "params": {"z": {}}}}):
            catalog = load(tmp_path, {**defaults, "jobs": {"a": {"task": "a:b", option: {name: None}}}})
            assert {path for path, _ in told(catalog)} == {f"jobs.a.{option}.{name}"}, (option, defaults)
