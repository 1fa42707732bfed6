"""Which runs are made, stored, found again; no model runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from llmbench.engines.config import engine_config
from llmbench.engines.errors import OutOfMemory
from llmbench.harness.cells.identity import Identity
from llmbench.harness.config import RunConfig
from llmbench.harness.frontier.runs import CheckedMethods, check_directory, run_methods
from llmbench.harness.run.drive import Progress
from llmbench.harness.run.experiment import Measured
from llmbench.harness.storage.store import StoreError

from ..observed import make_request, make_step
from ..stored import stored_run

SETTINGS = RunConfig("bundled", engine_config("paged"))


class Stages:
    def __init__(self) -> None:
        self.seen: list[str] = []

    def stage(self, text: str) -> None:
        self.seen.append(text)

    def progress(self, progress: Progress) -> None: ...


class Cells:
    """Runs that end as they are told to, and what was run."""

    def __init__(self, endings: Mapping[str, str] | None = None) -> None:
        self.endings = dict(endings or {})
        self.ran: list[object] = []

    def identify(self, overrides: Mapping[str, object], seed: int) -> Identity:
        del seed
        return Identity({"quant": overrides["quant"]}, "f" * 64)

    def measure(self, overrides: Mapping[str, object], seed: int) -> Measured:
        del seed
        method = str(overrides["quant"])
        self.ran.append(method)
        ending = self.endings.get(method, "whole")
        if ending == "too large":
            raise OutOfMemory("for the weights", "cuda", "--quant")
        stored = stored_run(
            [make_request((1.0, 2.0))],
            [make_step([("r0", "prefill", 0, 4)])],
            config={"quant": method},
            interrupted=ending != "whole",
        )
        failure = ending if ending not in ("whole", "ctrl-c") else ""
        return Measured(stored.result, stored.requests, stored.steps, failure)


def checked(cells: Cells, *methods: str) -> CheckedMethods:
    identities = {one: cells.identify({"quant": one}, 0) for one in methods}
    return CheckedMethods(SETTINGS, identities, cells)


def test_methods_run_in_order_and_only_once(tmp_path: Path) -> None:
    first = Cells()
    run_methods(checked(first, "none", "awq"), tmp_path, Stages())
    assert first.ran == ["none", "awq"]
    again, stages = Cells(), Stages()
    runs = run_methods(checked(again, "none", "awq", "int8"), tmp_path, stages)
    assert again.ran == ["int8"]
    assert [one.method for one in runs] == ["none", "awq", "int8"]
    assert all(one.run is not None for one in runs)
    assert stages.seen[0] == "method 1 of 3: none is stored already"


def test_ctrl_c_keeps_what_ended_and_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_methods(checked(Cells({"awq": "ctrl-c"}), "none", "awq", "int8"), tmp_path, Stages())
    assert [path.name for path in tmp_path.iterdir()] == ["none"]


def test_out_of_memory_leaves_the_others(tmp_path: Path) -> None:
    cells = Cells({"awq": "no memory left"})
    runs = run_methods(checked(cells, "none", "awq", "int8"), tmp_path, Stages())
    assert [(one.method, one.failure) for one in runs] == [
        ("none", ""),
        ("awq", "no memory left"),
        ("int8", ""),
    ]
    assert {path.name for path in tmp_path.iterdir()} == {"none", "int8"}
    # It is tried again, not taken for done.
    again = Cells()
    run_methods(checked(again, "none", "awq", "int8"), tmp_path, Stages())
    assert again.ran == ["awq"]


def test_weights_that_do_not_fit_leave_the_other_methods(tmp_path: Path) -> None:
    runs = run_methods(checked(Cells({"none": "too large"}), "none", "awq"), tmp_path, Stages())
    assert [bool(one.run) for one in runs] == [False, True]
    assert runs[0].failure == "cuda has no memory left for the weights; lower --quant"


def test_a_run_of_other_settings_is_not_overwritten(tmp_path: Path) -> None:
    run_methods(checked(Cells(), "none"), tmp_path, Stages())
    other = CheckedMethods(SETTINGS, {"none": Identity({"quant": "none"}, "0" * 64)}, Cells())
    with pytest.raises(StoreError, match="other settings or requests"):
        run_methods(other, tmp_path, Stages())


def test_a_directory_of_runs_takes_more_methods_and_no_other_files(tmp_path: Path) -> None:
    check_directory(tmp_path / "new", ["none"])
    run_methods(checked(Cells(), "none", "awq"), tmp_path, Stages())
    (tmp_path / "frontier.html").touch()
    check_directory(tmp_path, ["none", "int8"])
    (tmp_path / "notes.txt").touch()
    with pytest.raises(StoreError, match=r"notes\.txt"):
        check_directory(tmp_path, ["none"])
    with pytest.raises(StoreError, match="is a file"):
        check_directory(tmp_path / "notes.txt", ["none"])
