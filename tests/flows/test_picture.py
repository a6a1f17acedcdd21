"""Graphs of flows as text, for Mermaid, for Graphviz, as JSON, and on a plane."""

from __future__ import annotations

import re
from random import Random
from typing import Any

import pytest

from runner.flows.layout import MARGIN, Box, Layout, layout
from runner.flows.picture import Row, as_document, as_dot, as_mermaid, as_text, tree
from runner.model.job import JOB, JobSpec
from tests.flows.graphs import chain, node
from tests.flows.history import random_graph


def flow(steps: dict[str, Any], name: str = "nightly") -> JobSpec:
    """Return a job with steps, as a jobs file gives it."""
    faults = []
    values, _ = JOB.read_fields({"steps": steps}, (), lambda *fault, **_: faults.append(fault))
    assert faults == []
    return JobSpec(name=name, **values)


NIGHTLY = flow(
    {
        "extract": {"task": "etl:extract"},
        "load": {"needs": ["extract"], "each": "${steps.extract.result.files}", "at_once": 1200, "task": "etl:load"},
        "check": {"needs": ["load"], "job": "quality-check"},
        "stats": {
            "needs": ["extract"],
            "each": {"r": ["eu", "us"], "y": "${params.years}"},
            "task": "etl:stats",
            "may_fail": True,
        },
        "approve": {"needs": ["check", "stats"], "approval": {"within": "12h"}},
        "publish": {"needs": ["approve"], "if": "${steps.check.result.ok}", "task": "etl:publish"},
        "cleanup": {"needs": ["publish"], "when": "ended", "job": "remove-temp"},
        "alone": {"approval": {}},
    }
)


def test_text() -> None:
    assert as_text(NIGHTLY).splitlines() == [
        "extract                 task etl:extract",
        "├─ load                 task etl:load; each of ${steps.extract.result.files}; 1,200 at once",
        "│  └─ check             job quality-check",
        "│     └─ approve        approval within 12h; also needs stats",
        "│        └─ publish     task etl:publish; if ${steps.check.result.ok}",
        "│           └─ cleanup  job remove-temp; when ended",
        "└─ stats                task etl:stats; each of r (2 items) x y (${params.years}); may fail",
        "alone                   approval",
    ]


def test_a_step_stands_below_the_deepest_that_it_needs() -> None:
    graph = {"d": node("a c"), **chain("a", "b", "c"), "e": node("b a")}
    assert tree(graph) == [
        Row("", "a"),
        Row("└─ ", "b"),
        Row("   ├─ ", "c"),
        Row("   │  └─ ", "d", ("a",)),
        Row("   └─ ", "e", ("a",)),
    ]


def test_the_tree_has_each_step_once() -> None:
    for seed in range(200):
        graph, _ = random_graph(Random(seed))
        rows = tree(graph)
        assert sorted(row.name for row in rows) == sorted(graph)
        assert all(set(row.also) <= set(graph[row.name].needs) for row in rows)
        assert all(len(graph[row.name].needs) - len(row.also) == bool(row.branch) for row in rows)


def test_mermaid() -> None:
    assert as_mermaid(NIGHTLY).splitlines() == [
        "flowchart LR",
        '  s0["extract<br/>task etl:extract"]',
        '  s1["load<br/>task etl:load<br/>each of #36;#123;steps.extract.result.files#125;<br/>1,200 at once"]',
        '  s2[["check<br/>job quality-check"]]',
        '  s3["stats<br/>task etl:stats<br/>each of r (2 items) x y (#36;#123;params.years#125;)<br/>may fail"]',
        '  s4{{"approve<br/>approval within 12h"}}',
        '  s5["publish<br/>task etl:publish<br/>if #36;#123;steps.check.result.ok#125;"]',
        '  s6[["cleanup<br/>job remove-temp"]]',
        '  s7{{"alone<br/>approval"}}',
        "  s0 --> s1",
        "  s1 --> s2",
        "  s0 --> s3",
        "  s2 --> s4",
        "  s3 --> s4",
        "  s4 --> s5",
        "  s5 -. ended .-> s6",
    ]


def test_dot() -> None:
    lines = as_dot(NIGHTLY).splitlines()
    assert lines[:4] == [
        'digraph "nightly" {',
        "  rankdir=LR;",
        "  node [shape=box];",
        r'  "extract" [label="extract\ntask etl:extract"];',
    ]
    assert r'  "check" [label="check\njob quality-check", peripheries=2];' in lines
    assert r'  "approve" [label="approve\napproval within 12h", shape=hexagon];' in lines
    assert '  "publish" -> "cleanup" [style=dashed, label="ended"];' in lines
    assert (lines.count('  "check" -> "approve";'), lines[-1]) == (1, "}")


HOSTILE = 'x"]; evil <b>\\" #35; --> `y` \\'


def test_names_cannot_break_out_of_a_label() -> None:
    """Import paths and names are narrow; but a picture does not rely on that."""
    hostile = flow({"a": {"task": "m:f"}}, HOSTILE)
    step = hostile.steps["a"]
    object.__setattr__(step, "task", HOSTILE)
    label = re.findall(r'^  s0\["(.*)"\]$', as_mermaid(hostile), re.MULTILINE)
    assert len(label) == 1
    assert not re.search(r"[\"<>`\[\]\\]", label[0].replace("<br/>", ""))
    # Each quoted text of Graphviz ends where it should.
    quoted = r'"(?:[^"\\]|\\.)*"'
    assert re.fullmatch(
        rf"digraph {quoted} {{\n  rankdir=LR;\n  node \[shape=box\];\n  {quoted} \[label={quoted}\];\n}}",
        as_dot(hostile),
    )


def test_document() -> None:
    document = as_document(NIGHTLY)
    assert (document["job"], document["on_failure"]) == ("nightly", "finish")
    assert [(step["name"], step["layer"], step["kind"]) for step in document["steps"]] == [
        *[("extract", 0, "task"), ("load", 1, "task"), ("check", 2, "job"), ("stats", 1, "task")],
        *[("approve", 3, "approval"), ("publish", 4, "task"), ("cleanup", 5, "job"), ("alone", 0, "approval")],
    ]
    assert document["steps"][4] == {
        **{
            "name": "approve",
            "kind": "approval",
            "layer": 3,
            "needs": ["check", "stats"],
            "when": "succeeded",
            "if": None,
        },
        **{"each": None, "at_once": None, "may_fail": False, "task": None, "job": None, "approval": {"within": "12h"}},
    }


def ends(path: str) -> tuple[float, float, float, float]:
    """Return where a path begins and ends."""
    numbers = [float(number) for number in re.findall(r"-?[\d.]+", path)]
    return numbers[0], numbers[1], numbers[-2], numbers[-1]


def overlap(one: Box, two: Box) -> bool:
    apart = one.x + one.width <= two.x or two.x + two.width <= one.x
    return not (apart or one.y + one.height <= two.y or two.y + two.height <= one.y)


def check(graph: Any, found: Layout) -> None:
    boxes = {box.name: box for box in found.boxes}
    assert list(boxes) == list(graph)
    assert not any(overlap(one, two) for one in found.boxes for two in found.boxes if one.name < two.name)
    assert all(box.x >= MARGIN and box.x + box.width <= found.width - MARGIN + 0.1 for box in found.boxes)
    assert all(box.y >= MARGIN - 0.1 and box.y + box.height <= found.height - MARGIN + 0.1 for box in found.boxes)
    assert {(line.need, line.step) for line in found.lines} == {
        (need, name) for name in graph for need in graph[name].needs
    }
    for line in found.lines:
        need, step = boxes[line.need], boxes[line.step]
        assert need.layer < step.layer
        x, y, to_x, to_y = ends(line.path)
        assert (x, to_x) == (need.x + need.width, step.x)
        assert (y, to_y) == pytest.approx((need.y + need.height / 2, step.y + step.height / 2), abs=0.2)


def test_boxes_do_not_overlap_and_lines_join_them() -> None:
    for seed in range(300):
        graph, _ = random_graph(Random(seed))
        check(graph, layout(graph))
        assert layout(graph) == layout(dict(graph))


def test_a_chain_is_a_straight_line() -> None:
    found = layout(chain("a", "b", "c", "d"))
    assert len({box.y for box in found.boxes}) == 1
    assert {line.path.split()[0][0] for line in found.lines} == {"M"}


def test_branches_that_were_declared_crosswise_do_not_cross() -> None:
    graph = {"a1": node(), "b1": node(), "c1": node(), "c2": node("c1"), "b2": node("b1"), "a2": node("a1")}
    boxes = {box.name: box.y for box in layout(graph).boxes}
    assert [boxes[f"{name}1"] == boxes[f"{name}2"] for name in "abc"] == [True] * 3


def test_a_line_passes_by_the_boxes_of_the_layers_between() -> None:
    graph = {**chain("a", "b", "c"), "d": node("a c")}
    found = layout(graph)
    [long] = [line for line in found.lines if (line.need, line.step) == ("a", "d")]
    straight = re.findall(r"([\d.]+) H", long.path)
    middle = {box.name: box.y + box.height / 2 for box in found.boxes}
    assert len(straight) == 2
    assert all(
        abs(float(y) - middle[name]) > box.height / 2 for y, name, box in zip(straight, "bc", found.boxes, strict=False)
    )


def test_long_names_are_cut_off() -> None:
    [box] = layout({"x" * 64: node()}).boxes
    assert box.label.endswith("…")
    assert len(box.label) * 8 < box.width


def test_an_empty_graph_a_circle_and_a_large_graph() -> None:
    assert layout({}).boxes == ()
    assert len(layout({"a": node("b"), "b": node("a")}).boxes) == 2
    names = [f"s{number}" for number in range(1000)]
    wide = {"first": node(), **{name: node("first") for name in names}, "last": node(" ".join(names))}
    assert len(layout(wide).boxes) == 1002
    assert len(layout(chain(*names)).boxes) == 1000
