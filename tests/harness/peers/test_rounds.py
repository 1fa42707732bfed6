"""Turns are taken in order, kept one by one, and a failure costs nobody else's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.errors import StoreError
from llmbench.harness.peers.base import ServedModel, Variant
from llmbench.harness.peers.record import Conditions, Record, Turn
from llmbench.harness.peers.rounds import Row, take_turns
from llmbench.harness.peers.w8a8 import write_w8a8
from llmbench.harness.peers.workload import Figure, Job

from .fakes import FakePeer

MODEL = ServedModel("tiny", Path("nowhere"), "0123", Path("nowhere"))
CONDITIONS = Conditions("tiny", "0123", (0, 1), 7)


def kept(directory: Path) -> list[Turn]:
    return Record(directory, CONDITIONS).turns()


def jobs(number: int) -> tuple[Job, ...]:
    return (Job(Figure.OUTPUT, ((number, 1), (number, 2)), 3),)


def measure(
    peers: list[FakePeer],
    rounds: int,
    directory: Path,
    jobs_of_round: Callable[[int], tuple[Job, ...]] = jobs,
    conditions: Conditions = CONDITIONS,
) -> dict[str, str]:
    rows = [Row(peer, variant) for peer in peers for variant in peer.variants()]
    record = Record(directory, conditions)
    failed = take_turns(rows, MODEL, jobs_of_round, rounds, record, lambda _: None)
    return {variant.name: why for variant, why in failed.items()}


def test_turns_are_interleaved_and_engines_started_once(tmp_path: Path) -> None:
    told: list[str] = []
    measure([FakePeer("a", told), FakePeer("b", told)], 3, tmp_path)
    assert told[:-2] == ["start a W16", "a", "start b W16", "b", "a", "b", "a", "b"]
    assert told[-2:] == ["stop b W16", "stop a W16"]


def test_a_session_that_was_cut_off_goes_on_where_it_was(tmp_path: Path) -> None:
    told: list[str] = []
    measure([FakePeer("a", told)], 1, tmp_path)
    told.clear()
    measure([FakePeer("a", told), FakePeer("b", told)], 2, tmp_path)
    assert [one for one in told if " " not in one] == ["b", "a", "b"]
    assert [(turn.variant.engine, turn.round) for turn in kept(tmp_path)] == [
        ("a", 0),
        ("b", 0),
        ("a", 1),
        ("b", 1),
    ]


def test_nothing_is_started_that_has_nothing_left_to_do(tmp_path: Path) -> None:
    told: list[str] = []
    measure([FakePeer("a", told)], 1, tmp_path)
    told.clear()
    measure([FakePeer("a", told)], 1, tmp_path)
    assert told == []


def test_a_turn_holds_its_figures(tmp_path: Path) -> None:
    measure([FakePeer("a", [], step_s=0.5)], 1, tmp_path)
    (turn,) = kept(tmp_path)
    # Two requests of three tokens, the last at 1.0 + 2 x 0.5 s.
    assert turn.figures["output_tokens_per_s"] == 6 / 2.0
    assert turn.started.command == "fake --serve"


def test_a_peer_that_does_not_start_is_given_up_and_the_others_measured(tmp_path: Path) -> None:
    told: list[str] = []
    peers = [FakePeer("a", told, fails="no such library"), FakePeer("b", told)]
    assert measure(peers, 2, tmp_path) == {"a W16": "no such library"}
    assert len(kept(tmp_path)) == 2


def test_a_model_that_a_peer_cannot_hold_is_given_up_and_the_others_measured(
    tmp_path: Path,
) -> None:
    """Known wrong here: one row of a model that our own decoder lacks ended it."""
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "config.json").write_text('{"model_type": "unheard-of"}', encoding="utf-8")

    class Eight(FakePeer):
        @contextmanager
        def serve(self, variant: Variant, model: ServedModel, log: Path) -> Iterator[FakePeer]:
            write_w8a8(directory, tmp_path / "made")
            with super().serve(variant, model, log) as serving:
                yield serving

    out = tmp_path / "out"
    out.mkdir()
    why = measure([Eight("a", []), FakePeer("b", [])], 2, out)
    assert "unheard-of" in why["a W16"]
    assert [turn.variant.engine for turn in kept(out)] == ["b", "b"]


def test_a_peer_that_breaks_keeps_the_rounds_it_had(tmp_path: Path) -> None:
    assert measure([FakePeer("a", [], breaks_at=2)], 3, tmp_path) == {"a W16": "out of memory"}
    assert [turn.round for turn in kept(tmp_path)] == [0]


def test_a_peer_that_computes_less_than_asked_is_given_up(tmp_path: Path) -> None:
    class Lazy(FakePeer):
        def run(self, job: Job):
            return super().run(Job(job.figure, job.prompts, job.output_tokens - 1))

    assert "2 output tokens of 3" in measure([Lazy("a", [])], 1, tmp_path)["a W16"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"model": "another"}, "rounds of model another, not tiny"),
        ({"weights": "4567"}, "rounds of weights 4567, not 0123"),
        ({"cores": (0,)}, r"rounds of cores \[0\], not \[0, 1\]"),
        ({"seed": 8}, "rounds of seed 8, not 7"),
    ],
)
def test_rounds_under_other_conditions_are_not_mixed_in(
    tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    """Known wrong here: of all but the model, old figures stood under a new command."""
    measure([FakePeer("a", [])], 1, tmp_path)
    with pytest.raises(ConfigError, match=said):
        measure([FakePeer("a", [])], 2, tmp_path, conditions=replace(CONDITIONS, **changed))


def test_rounds_that_do_not_say_their_conditions_are_not_mixed_in(tmp_path: Path) -> None:
    measure([FakePeer("a", [])], 1, tmp_path)
    file = tmp_path / "rounds.jsonl"
    line = json.loads(file.read_text(encoding="utf-8"))
    del line["cores"]
    file.write_text(json.dumps(line) + "\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"rounds of cores \[0, 1\], not None"):
        measure([FakePeer("a", [])], 1, tmp_path)


def test_a_round_that_was_half_written_is_taken_again(tmp_path: Path) -> None:
    """Known wrong here: of a run that was killed, a traceback was all that came."""
    measure([FakePeer("a", [])], 2, tmp_path)
    file = tmp_path / "rounds.jsonl"
    file.write_bytes(file.read_bytes()[:-40])
    said: list[str] = []
    peer = FakePeer("a", [])
    record = Record(tmp_path, CONDITIONS)
    take_turns([Row(peer, *peer.variants())], MODEL, jobs, 2, record, said.append)
    assert said[0] == "the last round was cut off while it was written, and is taken again"
    assert [turn.round for turn in kept(tmp_path)] == [0, 1]


def test_a_round_that_lacks_only_the_end_of_its_line_is_kept(tmp_path: Path) -> None:
    measure([FakePeer("a", [])], 1, tmp_path)
    file = tmp_path / "rounds.jsonl"
    file.write_bytes(file.read_bytes()[:-1])
    told: list[str] = []
    measure([FakePeer("a", told)], 2, tmp_path)
    assert told.count("a") == 1
    assert [turn.round for turn in kept(tmp_path)] == [0, 1]


def test_another_tools_file_of_that_name_loses_nothing(tmp_path: Path) -> None:
    file = tmp_path / "rounds.jsonl"
    file.write_text("round,seconds", encoding="utf-8")
    with pytest.raises(StoreError, match="has no turn in line 1"):
        measure([FakePeer("a", [])], 1, tmp_path)
    assert file.read_text(encoding="utf-8") == "round,seconds"


@pytest.mark.parametrize("line", ["{", "[]", "{}", '{"variant": {"engine": 1}}', "\N{BULLET}"])
def test_another_line_that_is_no_turn_is_refused_and_kept(tmp_path: Path, line: str) -> None:
    measure([FakePeer("a", [])], 1, tmp_path)
    file = tmp_path / "rounds.jsonl"
    file.write_text(file.read_text(encoding="utf-8") + line + "\n", encoding="utf-8")
    there = file.read_bytes()
    with pytest.raises(StoreError, match=r"^out: '.*rounds.jsonl' has no turn in line 2; expected"):
        measure([FakePeer("a", [])], 2, tmp_path)
    assert file.read_bytes() == there


def test_rounds_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "rounds.jsonl").write_bytes(b"\xff\n")
    with pytest.raises(StoreError, match="is not UTF-8 text; expected the rounds"):
        measure([FakePeer("a", [])], 1, tmp_path)


def test_a_row_is_of_one_version(tmp_path: Path) -> None:
    measure([FakePeer("a", [])], 1, tmp_path)
    newer = FakePeer("a", [], versions={"fake": "2"})
    assert measure([newer], 1, tmp_path) == {}
    why = measure([newer, FakePeer("b", [])], 2, tmp_path)
    assert why == {"a W16": f"its rounds in {tmp_path} are of fake 1, and this is fake 2"}
    assert [turn.variant.engine for turn in kept(tmp_path)] == ["a", "b", "b"]
