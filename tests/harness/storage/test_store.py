"""A stored run comes back as it was, or one line says what is wrong; nothing is half-written."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import jsonschema
import pandas as pd
import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.errors import PlaceTaken
from llmbench.harness.result import Metric, Result, json_schema
from llmbench.harness.run.record import RequestStatus
from llmbench.harness.storage.store import (
    StoredRun,
    StoreError,
    check_out,
    load_run,
    standing,
    write_reports,
    write_run,
)

from ..observed import make_request, serve_in_turn
from ..stored import stored_run

REPORTS = {"report.md": "# Größe\n", "report.html": "<p>1 < 2</p>"}


@pytest.fixture(scope="module")
def run() -> StoredRun:
    requests, steps = serve_in_turn(12)
    refused = make_request((), index=12, send_s=1.0, status=RequestStatus.REFUSED)
    return stored_run([*requests, refused], steps)


def _write(directory: Path, run: StoredRun) -> Path:
    return write_run(directory, run.result, run.requests, run.steps, REPORTS)


def test_round_trip(tmp_path: Path, run: StoredRun) -> None:
    directory = _write(tmp_path / "deep" / "run", run)
    found = load_run(directory)

    assert found.result == run.result
    pd.testing.assert_frame_equal(_plain(found.requests), _plain(run.requests))
    pd.testing.assert_frame_equal(_plain(found.steps), _plain(run.steps))
    assert (directory / "report.md").read_text(encoding="utf-8") == REPORTS["report.md"]
    assert sorted(path.name for path in directory.parent.iterdir()) == ["run"]


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Arrays as lists: Parquet gives one back for the other."""
    return frame.map(lambda cell: list(cell) if hasattr(cell, "__len__") else cell).astype(object)


def test_the_path_of_the_result_file_will_do(tmp_path: Path, run: StoredRun) -> None:
    directory = _write(tmp_path / "run", run)

    assert load_run(directory / "result.json").result == run.result


def test_the_result_file_satisfies_its_json_schema(tmp_path: Path, run: StoredRun) -> None:
    data = json.loads((_write(tmp_path / "run", run) / "result.json").read_text())

    jsonschema.validate(data, json_schema(), cls=jsonschema.Draft202012Validator)
    needed = "schema_version run_id config environment validity metrics kv counters quality"
    assert set(needed.split()) <= set(data)


def test_the_directory_has_ordinary_permissions(tmp_path: Path, run: StoredRun) -> None:
    (tmp_path / "made").mkdir()

    assert _write(tmp_path / "run", run).stat().st_mode == (tmp_path / "made").stat().st_mode


def test_an_earlier_run_is_replaced_whole(tmp_path: Path, run: StoredRun) -> None:
    directory = _write(tmp_path / "run", run)
    other = run.result.model_copy(update={"run_id": "second"})
    write_run(directory, other, run.requests, run.steps, {})

    assert load_run(directory).result.run_id == "second"
    assert not (directory / "report.md").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def _named(run: StoredRun, run_id: str) -> Result:
    return run.result.model_copy(update={"run_id": run_id})


@pytest.mark.parametrize("earlier", [False, True])
def test_a_run_that_came_meanwhile_stays_and_the_later_one_is_kept_beside_it(
    tmp_path: Path, run: StoredRun, earlier: bool
) -> None:
    place = tmp_path / "run"
    if earlier:
        _write(place, run)
    stood = standing(place)
    write_run(place, _named(run, "first"), run.requests, run.steps, {}, stood)
    (tmp_path / "run-2").mkdir()  # somebody's, and not written to

    with pytest.raises(PlaceTaken, match=r"was taken .* this one is .*run-3") as caught:
        write_run(place, _named(run, "second"), run.requests, run.steps, {}, stood)

    assert caught.value.kept == place.resolve().with_name("run-3")
    assert load_run(place).result.run_id == "first"
    assert load_run(caught.value.kept).result.run_id == "second"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-2", "run-3"]


@pytest.mark.parametrize(
    ("there", "later", "replaced"),
    [
        (("complete", True), ("partial", False), False),
        (("complete", False), ("partial", False), False),
        (("complete", True), ("complete", False), False),
        (("complete", True), ("complete", True), True),
        (("complete", False), ("complete", False), True),
        (("complete", False), ("complete", True), True),
        (("partial", False), ("partial", False), True),
        (("partial", True), ("complete", False), True),
    ],
)
def test_a_run_is_replaced_by_none_that_is_less_of_a_result(
    tmp_path: Path,
    run: StoredRun,
    there: tuple[str, bool],
    later: tuple[str, bool],
    replaced: bool,
) -> None:
    """A finished run was lost to one that Ctrl-C had ended."""
    place = tmp_path / "run"
    write_run(place, _ended(run, "first", *there), run.requests, run.steps, {})
    second = _ended(run, "second", *later)
    stored = write_run(place, second, run.requests, run.steps, {}, standing(place))

    assert stored == (tmp_path / ("run" if replaced else "run-2")).resolve()
    assert load_run(stored).result == second
    assert load_run(place).result.run_id == ("second" if replaced else "first")
    assert len(list(tmp_path.iterdir())) == 1 + (not replaced)


def _cut_short(run: StoredRun, run_id: str, command: str) -> Result:
    config = run.result.config | {"command": command}
    return _ended(run, run_id, "partial", True).model_copy(update={"config": config})


@pytest.mark.parametrize("command", ["llmbench run", "llmbench run --quant awq", ""])
def test_of_parts_that_one_command_leaves_beside_a_whole_run_the_last_is_kept(
    tmp_path: Path, run: StoredRun, command: str
) -> None:
    """They were numbered on, each time that Ctrl-C was pressed."""
    place = tmp_path / "run"
    write_run(place, _ended(run, "whole", "complete", True), run.requests, run.steps, {})
    for run_id, of in (("first", "llmbench run"), ("second", command)):
        later = _cut_short(run, run_id, of)
        stored = write_run(place, later, run.requests, run.steps, {}, standing(place))
        assert load_run(stored).result.run_id == run_id
    replaced = command == "llmbench run"
    names = {"run", "run-2"} if replaced else {"run", "run-2", "run-3"}
    assert {path.name for path in tmp_path.iterdir()} == names


@pytest.mark.parametrize("kept", ["a finished run", "a file of somebody's", "no run"])
def test_beside_a_whole_run_nothing_but_a_part_is_replaced(
    tmp_path: Path, run: StoredRun, kept: str
) -> None:
    place, beside = tmp_path / "run", tmp_path / "run-2"
    write_run(place, _ended(run, "whole", "complete", True), run.requests, run.steps, {})
    part = _cut_short(run, "first", "llmbench run")
    if kept == "no run":
        beside.mkdir()
    else:
        there = part.model_copy(update={"status": "complete"}) if "run" in kept else part
        write_run(beside, there, run.requests, run.steps, {})
    if "file" in kept:
        (beside / "notes.txt").write_text("mine")
    before = sorted(beside.iterdir())
    stored = write_run(place, part, run.requests, run.steps, {}, standing(place))
    assert stored == (tmp_path / "run-3").resolve()
    assert sorted(beside.iterdir()) == before


def _ended(run: StoredRun, run_id: str, status: str, valid: bool) -> Result:
    validity = run.result.validity.model_copy(update={"valid": valid})
    return _named(run, run_id).model_copy(update={"status": status, "validity": validity})


@pytest.mark.parametrize("earlier", [False, True])
def test_of_runs_that_end_at_once_none_is_lost(
    tmp_path: Path, run: StoredRun, earlier: bool
) -> None:
    place, writers = tmp_path / "run", 6
    if earlier:
        _write(place, run)
    stood, together = standing(place), Barrier(writers)

    def write(name: str) -> bool:
        together.wait()
        try:
            write_run(place, _named(run, name), run.requests, run.steps, {}, stood)
        except PlaceTaken:
            return False
        return True

    names = {f"writer {number}" for number in range(writers)}
    with ThreadPoolExecutor(writers) as pool:
        assert sum(pool.map(write, sorted(names))) == 1

    there = sorted(path.name for path in tmp_path.iterdir())
    assert there == ["run", *(f"run-{number}" for number in range(2, writers + 1))]
    assert {load_run(tmp_path / name).result.run_id for name in there} == names


def test_files_that_came_meanwhile_stay_and_the_run_is_kept_beside_them(
    tmp_path: Path, run: StoredRun
) -> None:
    place = tmp_path / "run"
    stood = standing(place)
    _write(place / "repeat-1", run)
    with pytest.raises(PlaceTaken) as caught:
        write_run(place, _named(run, "second"), run.requests, run.steps, {}, stood)

    assert [path.name for path in place.iterdir()] == ["repeat-1"]
    assert load_run(caught.value.kept).result.run_id == "second"


def test_an_answer_that_no_rate_holds_is_as_good_as_a_whole_run(
    tmp_path: Path, run: StoredRun
) -> None:
    """What comes meanwhile stays, and no part replaces it; a whole run does, if it may."""
    place = tmp_path / "never"
    stood = standing(place)
    place.mkdir()
    (place / "capacity.json").write_text("{}")
    with pytest.raises(PlaceTaken):
        write_run(place, run.result, run.requests, run.steps, {}, stood)
    stood = standing(place)
    part = run.result.model_copy(update={"status": "partial"})
    beside = write_run(place, part, run.requests, run.steps, {}, stood)
    assert beside == tmp_path / "never-3"
    assert write_run(place, run.result, run.requests, run.steps, {}, stood) == place
    assert not (place / "capacity.json").exists()


def test_an_empty_directory_is_used(tmp_path: Path, run: StoredRun) -> None:
    (tmp_path / "run").mkdir()

    assert load_run(_write(tmp_path / "run", run)).result == run.result


def test_other_peoples_files_are_never_replaced(tmp_path: Path, run: StoredRun) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(StoreError, match=r"out: '.*' holds other files \(thesis\.txt\)"):
        _write(tmp_path, run)
    directory = _write(tmp_path / "run", run)
    (directory / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match=r"notes\.txt"):
        _write(directory, run)
    assert (directory / "notes.txt").read_text() == "mine"


def test_a_file_in_the_way(tmp_path: Path, run: StoredRun) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file; expected a directory"):
        check_out(tmp_path / "file")
    with pytest.raises(StoreError, match=r"out: .* cannot be made in .*Not a directory"):
        check_out(tmp_path / "file" / "run")
    with pytest.raises(StoreError, match="cannot be made in"):
        _write(tmp_path / "file" / "run", run)


def test_a_name_that_is_no_utf8_is_kept_in_a_run_of_it(tmp_path: Path, run: StoredRun) -> None:
    """As `--workload` names a file from a system of Latin-1."""
    command = "llmbench run --workload 'caf\udce9.yaml'"
    result = run.result.model_copy(update={"config": {**run.result.config, "command": command}})
    directory = write_run(
        tmp_path / "run", result, run.requests, run.steps, {"report.md": f"`{command}`"}
    )
    write_reports(directory, {"report.html": f"<p>{command}</p>"})

    assert load_run(directory).result.config["command"] == command
    for name in ("report.md", "report.html"):
        assert "caf\\udce9.yaml" in (directory / name).read_text(encoding="utf-8")


def test_a_place_that_is_no_utf8_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not UTF-8; expected a path that is"):
        check_out(tmp_path / "caf\udce9")


def test_an_unwritable_place_is_found_before_the_run() -> None:
    # Nobody may make a directory there, root included.
    with pytest.raises(StoreError, match="out: '/proc/run' cannot be made in '/proc'"):
        check_out(Path("/proc/run"))


def test_checking_leaves_nothing_behind(tmp_path: Path) -> None:
    check_out(tmp_path / "a" / "b")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, OSError(28, "No space left")])
@pytest.mark.parametrize("earlier", [False, True])
def test_an_interruption_leaves_what_was_there(
    tmp_path: Path,
    run: StoredRun,
    monkeypatch: pytest.MonkeyPatch,
    interruption: type[BaseException] | BaseException,
    earlier: bool,
) -> None:
    if earlier:
        _write(tmp_path / "run", run)
    before = sorted(path.name for path in tmp_path.rglob("*"))

    def fail(*_args: object, **_kwargs: object) -> None:
        raise interruption

    monkeypatch.setattr(run.steps, "to_parquet", fail)
    with pytest.raises((KeyboardInterrupt, StoreError)):
        _write(tmp_path / "run", run)

    assert sorted(path.name for path in tmp_path.rglob("*")) == before
    if earlier:
        monkeypatch.undo()
        assert load_run(tmp_path / "run").result == run.result


def test_a_failed_move_puts_the_earlier_run_back(
    tmp_path: Path, run: StoredRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = _write(tmp_path / "run", run)
    replace = Path.replace
    moves: list[Path] = []

    def fail_on_the_second(self: Path, target: Path) -> Path:
        moves.append(self)
        if len(moves) == 2:
            raise KeyboardInterrupt
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", fail_on_the_second)
    with pytest.raises(KeyboardInterrupt):
        _write(directory, run)
    monkeypatch.undo()

    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert load_run(directory).result == run.result


def test_a_result_that_is_not_json_is_not_written(tmp_path: Path, run: StoredRun) -> None:
    broken = Metric(unit="s", better="lower", stats={"mean": float("nan")})
    result = run.result.model_copy(update={"metrics": {"ttft": broken}})

    with pytest.raises(StoreError, match=r"written: metrics\.ttft\.stats\.mean is nan"):
        write_run(tmp_path / "run", result, run.requests, run.steps, {})
    assert list(tmp_path.iterdir()) == []


def _remove(name: str) -> Callable[[Path], None]:
    return lambda directory: (directory / name).unlink()


def _overwrite(name: str, text: str) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        (directory / name).write_text(text)

    return change


def _edit(**fields: Any) -> Callable[[Path], None]:
    def change(directory: Path) -> None:
        path = directory / "result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))

    return change


def _drop_column(directory: Path) -> None:
    path = directory / "requests.parquet"
    pd.read_parquet(path).drop(columns=["t_due_s", "detail"]).to_parquet(path)


def _cut_table(directory: Path) -> None:
    path = directory / "steps.parquet"
    path.write_bytes(path.read_bytes()[:100])


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (_remove("result.json"), "result.json' does not exist"),
        (_remove("requests.parquet"), "requests.parquet' does not exist"),
        (_overwrite("result.json", '{"schema_version": 1,'), "is not JSON: "),
        (_overwrite("result.json", '{"duration_s": NaN}'), "is not JSON: NaN is no number"),
        (_overwrite("result.json", '{"duration_s": -Infinity}'), "is not JSON: -Infinity is no"),
        (_overwrite("result.json", '{"duration_s": 1e999}'), "is not JSON: 1e999 is no number"),
        (_overwrite("result.json", "[" * 100_000), "is not JSON: "),
        (_overwrite("result.json", "[]"), "schema_version None; .* reads 2"),
        (_edit(schema_version=7), "schema_version 7; this version of llmbench reads 2"),
        (_edit(duration_s="long"), "duration_s: Input should be a valid number"),
        (_edit(window={"start_s": 0}), r"window.end_s: Field required \(and 1 more\)"),
        (_edit(surprise=1), "surprise: Extra inputs are not permitted"),
        (_drop_column, "requests.parquet' lacks the columns t_due_s, detail"),
        (_cut_table, "steps.parquet' is not a readable Parquet file"),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(
    tmp_path: Path, run: StoredRun, harm: Callable[[Path], None], message: str
) -> None:
    directory = _write(tmp_path / "run", run)
    harm(directory)

    with pytest.raises(StoreError, match=message) as caught:
        load_run(directory)
    assert "\n" not in str(caught.value)
    assert isinstance(caught.value, ConfigError)


def test_no_such_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"run: '.*file' is a file; expected the directory of a"):
        load_run(tmp_path / "file")
    with pytest.raises(StoreError, match=r"run: '.*nowhere' does not exist"):
        load_run(tmp_path / "nowhere")


@pytest.mark.parametrize("place", ["awq", "cells/engine=paged"], ids=["frontier", "sweep"])
def test_a_directory_of_runs_is_none(tmp_path: Path, run: StoredRun, place: str) -> None:
    """Known wrong here: only that its result.json does not exist."""
    (tmp_path / place).parent.mkdir(exist_ok=True)
    _write(tmp_path / place, run)
    with pytest.raises(StoreError) as error:
        load_run(tmp_path)
    said = f"holds a run and is none; expected one of them, such as {tmp_path / place}"
    assert str(error.value).endswith(said)


def test_reports_are_rebuilt_in_place(tmp_path: Path, run: StoredRun) -> None:
    directory = _write(tmp_path / "run", run)
    write_reports(directory, {"report.md": "new"})

    assert (directory / "report.md").read_text() == "new"
    assert (directory / "report.html").read_text() == REPORTS["report.html"]
    assert len(list(directory.iterdir())) == 5
