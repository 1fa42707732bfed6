"""A comparison as a file, and what is read of it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.ab.asked import asked_now
from llmbench.harness.ab.compare import Length, Outcome, compare
from llmbench.harness.ab.protocol import Trial
from llmbench.harness.ab.questions import questions_of
from llmbench.harness.ab.side import InvalidTrial, SideOptions
from llmbench.harness.ab.stored import as_json, read_comparison
from llmbench.harness.storage.json_text import json_text

from .fakes import ASKED, FakeSide

ROOT = Path(__file__).resolve().parents[3]


def _compared(b: FakeSide | None = None) -> Outcome:
    a = FakeSide(lambda seed: 0.01 + 1e-6 * (seed % 7))
    b = b or FakeSide(lambda seed: 0.012 + 1e-6 * (seed % 5))
    return compare(a, b, questions_of(["tpot.mean=5%"]), Length(num_requests=10), coin=5)


def _stored(path: Path, outcome: Outcome) -> Path:
    path.write_text(json_text(as_json(outcome, ASKED)))
    return path


def test_what_was_stored_is_read_back(tmp_path: Path) -> None:
    outcome = _compared()
    assert outcome.answers[0].verdict == "regressed"
    assert read_comparison(_stored(tmp_path / "ab.json", outcome)) == (outcome, ASKED)


def test_so_are_dropped_quads_and_one_that_was_cut_off(tmp_path: Path) -> None:
    class Failing(FakeSide):
        def trial(self, seed: int, num_requests: int, limit_s: float) -> Trial:
            trial = super().trial(seed, num_requests, limit_s)
            if len(self.trials) == 4:
                raise InvalidTrial("b: 2 requests failed")
            if len(self.trials) == 9:
                raise KeyboardInterrupt
            return trial

    outcome = _compared(Failing(lambda _: 0.01))
    assert outcome.interrupted
    assert [one.quad for one in outcome.dropped] == [1]
    assert {one.pair // 2 for one in outcome.left_out} <= {1, 4}
    path = _stored(tmp_path / "ab.json", outcome)
    assert read_comparison(path) == (outcome, ASKED)
    assert "interrupted" not in json.loads(path.read_text())


@pytest.mark.parametrize(
    ("cut_short", "interrupted"), [("", False), ("interrupted", True), ("time was up", False)]
)
def test_what_cut_a_comparison_short_says_whether_it_was_interrupted(
    cut_short: str, interrupted: bool, tmp_path: Path
) -> None:
    """Known wrong here: a key of its own, which could say otherwise."""
    path = _stored(tmp_path / "ab.json", replace(_compared(), cut_short=cut_short))
    read, _ = read_comparison(path)
    assert (read.cut_short, read.interrupted) == (cut_short, interrupted)


def test_an_interval_that_has_no_end_has_none_when_it_is_read(tmp_path: Path) -> None:
    outcome = _compared()
    endless = replace(outcome.answers[0], low=0.0, high=math.inf)
    path = _stored(tmp_path / "ab.json", replace(outcome, answers=(endless,)))
    assert read_comparison(path)[0].answers == (endless,)


def _without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda told: told.pop(name)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_without("kind"), "is no comparison; expected what 'llmbench ab --out' writes"),
        (lambda told: told.update(kind="sweep"), "is no comparison"),
        (lambda told: told.update(schema_version=1), "has schema_version 1; this version"),
        (_without("coin"), "has no 'coin'"),
        (_without("cut_short"), "has no 'cut_short'"),
        (lambda told: told["asked"].pop("seed"), "has no 'seed'"),
        (lambda told: told.update(a=[3]), "is damaged"),
        (lambda told: told.update(labels=["a"]), "is damaged"),
        (lambda told: told["a"].pop(), "is damaged (15 trials of A and 16 of B are no 16 pairs)"),
        (lambda told: told["answers"][0].update(verdict="fine"), "is damaged ('fine' is none of"),
        (lambda told: told["answers"][0].update(ratio=math.nan), "is not JSON"),
        (lambda told: told.update(configs=["a", "b"]), "is damaged"),
        (lambda told: told["asked"]["environment"].update(cpu="fast"), "is damaged"),
        (lambda told: told["questions"][0].update(metric="tpot.meen"), "is damaged"),
    ],
)
def test_another_file_is_refused_in_one_line(
    change: Callable[[dict[str, Any]], object], said: str, tmp_path: Path
) -> None:
    told = json.loads(json_text(as_json(_compared(), ASKED)))
    change(told)
    path = tmp_path / "ab.json"
    path.write_text(json.dumps(told))
    with pytest.raises(ConfigError) as caught:
        read_comparison(path, field="runs")
    assert str(caught.value).startswith(f"runs: '{path}' {said}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"[1]", b"{", b"\xff", b"3", b"[" * 100_000, None])
def test_so_is_what_is_no_file_of_ours(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "ab.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match="expected what 'llmbench ab --out' writes"):
        read_comparison(path)


def test_a_number_beyond_what_a_float_holds_is_refused(tmp_path: Path) -> None:
    """Known wrong here: it was read as infinity."""
    path = _stored(tmp_path / "ab.json", _compared())
    path.write_text(path.read_text().replace('"coin": 5', '"coin": 1e999'))
    with pytest.raises(ConfigError, match="is not JSON; expected what 'llmbench ab --out' writes"):
        read_comparison(path)


def test_what_was_asked_says_options_trees_and_the_machine() -> None:
    first = SideOptions("a", ["--engine", "paged"])
    asked = asked_now("llmbench ab", first, replace(first, tree=Path("nowhere")), 3)
    assert (asked.a.options, asked.a.tree, asked.b.tree) == (("--engine", "paged"), "", "nowhere")
    assert asked.b.commit == ""
    assert asked.seed == asked.environment["seed"] == 3
    assert asked.environment["cpu"]["usable_cores"] >= 1
    json_text(as_json(_compared(), asked))


def test_a_tree_has_its_commit() -> None:
    own = asked_now("llmbench ab", SideOptions("a", [], ROOT), SideOptions("b", [], ROOT), 0).a
    assert own.tree == str(ROOT)
    assert not (ROOT / ".git").exists() or len(own.commit.removesuffix("+")) == 10
