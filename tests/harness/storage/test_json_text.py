"""What is written as JSON is JSON: Python's own writer also writes NaN and Infinity, which no other
parser takes."""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from llmbench.harness.storage.json_text import json_text, not_finite, read_json

ROOT = Path(__file__).resolve().parents[3]
ROOMS = ("engines/cost", "harness", "reports", "workloads")
# Texts that are compared, hashed or told to a process of ours, and never written.
NOT_WRITTEN = {
    "harness/bench/serve_overhead.py",
    "harness/client/bodies.py",
    "harness/history/series.py",
    "harness/mock/server.py",
    "harness/mock/wire.py",
    "harness/peers/runner.py",
    "harness/peers/runners/lines.py",
    "harness/storage/json_text.py",  # and files, strictly
    "harness/storage/settings.py",
    "harness/simulation/simulate.py",
    "harness/simulation/simulated_machine.py",
    "workloads/api.py",
}


def _writers() -> Iterator[tuple[str, ast.Call]]:
    """Every call of json.dump and json.dumps, with the file that it stands in."""
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                match node:
                    case ast.Call(
                        func=ast.Attribute(value=ast.Name(id="json"), attr="dumps" | "dump")
                    ):
                        yield str(path.relative_to(ROOT)), node


def _is_strict(call: ast.Call) -> bool:
    return any(
        word.arg == "allow_nan" and isinstance(word.value, ast.Constant) and not word.value.value
        for word in call.keywords
    )


def test_every_writer_of_json_refuses_what_is_not_json() -> None:
    writers = list(_writers())
    assert len(writers) > 15
    loose = {
        f"{file}:{call.lineno}"
        for file, call in writers
        if file not in NOT_WRITTEN and not _is_strict(call)
    }
    assert loose == set()
    # Whoever leaves the list of those that need not be strict must leave it here, too.
    assert {file for file, call in writers if not _is_strict(call)} >= NOT_WRITTEN


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, np.float64("nan")])
def test_what_is_not_finite_is_null(value: float) -> None:
    data: dict[str, Any] = {"a": [1.5, (value,)], "b": {"c": value}, "d": "inf", "e": None}
    told = json.loads(json_text(data), parse_constant=pytest.fail)
    assert told == {"a": [1.5, [None]], "b": {"c": None}, "d": "inf", "e": None}


@pytest.mark.parametrize("value", [math.inf, np.float64("nan")])
def test_the_first_number_that_is_not_finite_is_named(value: float) -> None:
    found = not_finite({"a": 1.5, "b": [{"c": 2}, {"d": value}], "e": -math.inf})
    assert found is not None
    assert found[0] == "b.1.d"
    assert not_finite({"a": [1.5, "inf", None, True]}) is None


def test_the_text_is_ascii_whatever_a_terminal_can_show() -> None:
    assert json_text({"name": "µ\x9b31m"}, indent=None) == '{"name": "\\u00b5\\u009b31m"}'
    with pytest.raises(TypeError):
        json_text({"path": Path("x")})
    assert json_text(Path("x"), default=str) == '"x"'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[NaN]", "NaN is no number"),
        ('{"a": -Infinity}', "-Infinity is no number"),
        ("1e999", "1e999 is no number"),
        ("[" * 100_000, "is nested too deeply"),
        ("{", "Expecting property name"),
    ],
    ids=["nan", "infinity", "beyond a float", "nested", "cut short"],
)
def test_what_only_looks_like_json_is_refused(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_json(text)
    assert read_json(b'{"a": [1, 2.5, null]}') == {"a": [1, 2.5, None]}
