"""Which stored runs belong together, in what order, and which are left out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.comparison.compare import differing_config
from llmbench.harness.history.series import find_runs, group
from llmbench.harness.rendering import history_reports
from llmbench.harness.storage.store import RESULT_FILE, StoreError, write_run
from llmbench.reports.history_report import history_report

from ..observed import serve_in_turn
from ..stored import SIMULATION, stored_run
from .nights import history, run


def test_runs_are_in_order_of_time_and_of_one_experiment() -> None:
    runs = [
        run("later", day=3),
        run("wider", day=2, config={"max_num_seqs": 8}),
        run("first", day=1),
        run("second", day=2, commit="abc", config={"command": "called otherwise"}),
        run("new", day=4, config={"a_setting_of_tomorrow": None}),
    ]
    names = [[one.directory.name for one in members] for members in group(runs)]
    assert names == [["first", "second", "later", "new"], ["wider"]]
    told = history(runs)
    assert (told.left_out, told.alone) == ((), ("wider",))


def test_simulated_runs_are_in_the_order_of_their_names_whatever_a_copy_made_of_their_files(
    tmp_path: Path,
) -> None:
    """Known wrong here: they were ordered by when their files were written."""
    requests, traces = serve_in_turn(12)
    tables = stored_run(requests, traces)
    for at, name in enumerate(("old/n10", "new/n2", "old/n9", "new/n1")):
        one = run(name, simulated=True)
        write_run(tmp_path / name, one.result, tables.requests, tables.steps, {})
        os.utime(tmp_path / name / RESULT_FILE, (at, at))

    def order(*paths: str) -> list[str]:
        found, _ = find_runs([tmp_path / path for path in paths])
        (members,) = group(found)
        return [one.directory.name for one in members]

    assert order("old", "new") == ["n9", "n10", "n1", "n2"]
    assert order("") == ["n1", "n2", "n9", "n10"]
    told = history(find_runs([tmp_path])[0])
    assert [one.when for one in told.series[0].runs] == [None] * 4
    (series,) = told.series
    assert series.name.endswith(" · simulated")
    assert history_report(told).premise == (
        f"Simulated, not measured: {series.name}. How wrong it may be: {SIMULATION.error}."
    )
    assert history_report(history([run("a", day=1), run("b", day=2)])).premise == ""
    assert "4 runs, n1 to n10 in the order of names" in history_reports(told)["history.html"]


def test_runs_of_other_threads_are_another_experiment() -> None:
    runs = [
        run("of-one", day=1, config={"threads": 1}),
        run("second", day=3),
        run("first", day=2),
    ]
    names = [[one.directory.name for one in members] for members in group(runs)]
    assert names == [["of-one"], ["first", "second"]]
    assert differing_config([run.result for run in runs[:2]])[0].values == (1, 2)


def test_repeats_that_are_alone_are_named_in_full_and_nothing_is_called_steady() -> None:
    told = history(
        [
            run("runs/s-a/repeat-1", config={"max_num_seqs": 4}),
            run("runs/s-b/repeat-1", config={"max_num_seqs": 8}),
        ]
    )
    assert told.alone == ("runs/s-a/repeat-1", "runs/s-b/repeat-1")
    report = history_report(told)
    assert report.verdict == "Nothing to compare: no series of two runs."
    assert report.badge.tone == "plain"
    assert [section.id for section in report.sections] == ["alone"]


def test_runs_that_are_alone_are_one_line_and_no_caution() -> None:
    """Of 28 such runs each was a yellow line above everything."""
    pair = [run("a", day=1), run("b", day=2)]
    many = [run(f"x{at}", config={"max_num_seqs": 100 + at}) for at in range(28)]
    told = history([*pair, *many])
    report = history_report(told)
    (note,) = report.notes
    assert note.tone == "plain"
    assert note.text.startswith("28 runs are alone: no other run has their settings")
    pages = history_reports(told)
    assert pages["history.md"].index("x27") > pages["history.md"].index("<details>")
    # In the page, too: its last fold before the names is still open there.
    before = pages["history.html"].partition(">x0<")[0]
    assert before.rindex("<details>") > before.rindex("</details>")
    (note,) = history_report(history([*pair, many[0]])).notes
    assert note.text.startswith("1 run is alone: no other run has its settings")
    broken = replace(told, left_out=(("cut", "it was interrupted"),))
    assert [one.tone for one in history_report(broken).notes] == ["caution", "plain"]
    assert history_report(history(pair)).notes == ()


def test_a_setting_that_a_run_does_not_say_parts_no_series() -> None:
    old = run("old", day=1)
    new = run("new", day=2, config={"cuda_graphs": "off", "tensor_parallel": 1})
    other = run("other", day=3, config={"cuda_graphs": "decode"})
    names = [[one.directory.name for one in members] for members in group([old, new, other])]
    assert names == [["old", "new"], ["other"]]


def test_series_that_would_be_called_alike_say_what_they_differ_in() -> None:
    runs = [
        run(f"{seqs}-{day}", day=day, config={"max_num_seqs": seqs})
        for seqs in (4, 8)
        for day in (1, 2)
    ]
    names = [series.name for series in history(runs).series]
    assert names[0].endswith("(max_num_seqs 4)")
    assert names[1].endswith("(max_num_seqs 8)")


def test_runs_are_found_below_a_directory_and_those_that_do_not_count_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By their paths: many are called alike."""
    monkeypatch.chdir(tmp_path)
    requests, traces = serve_in_turn(12)
    stored = stored_run(requests, traces)
    valid = run("", day=1).result
    for name in ("a", "deep/b"):
        write_run(tmp_path / name, valid, stored.requests, stored.steps, {})
    partial = valid.model_copy(update={"status": "partial"})
    for name in ("cut", "deep/cut"):
        write_run(tmp_path / name, partial, stored.requests, stored.steps, {})
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "result.json").write_text('{"schema_version": 99}')
    # The parent and the child name the same runs.
    runs, left_out = find_runs([tmp_path, tmp_path / "deep"])
    assert sorted(one.directory.name for one in runs) == ["a", "b"]
    assert dict(left_out)["cut"] == dict(left_out)["deep/cut"] == "it was interrupted"
    monkeypatch.chdir(tmp_path / "deep")
    assert str(tmp_path / "cut") in dict(find_runs([tmp_path])[1])
    assert "schema_version 99" in dict(left_out)["broken"]


def test_paths_without_runs_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a directory that holds runs"):
        find_runs([tmp_path])
    with pytest.raises(StoreError, match="does not exist"):
        find_runs([tmp_path / "nowhere"])
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"'.*file' is a file; expected a directory that holds"):
        find_runs([tmp_path / "file"])


def test_a_driver_is_what_changed_and_parts_no_series() -> None:
    """A step that came with an upgrade was in two series, and so in none."""

    def on(driver: str, gpu: str = "NVIDIA H100") -> dict[str, Any]:
        return {"gpus": [{"name": gpu, "memory_bytes": 80, "driver": driver}]}

    runs = [
        run(f"n{day}", day=day, steps=90 + day // 2, environment=on(driver))
        for day, driver in ((1, "550.54"), (2, "550.90"))
    ]
    told = history([*runs, run("other", day=3, environment=on("550.90", "NVIDIA H200"))])
    assert told.alone == ("other",)
    assert "driver 550.54 → 550.90" in history_reports(told)["history.md"]


def test_an_edited_kernel_is_what_a_history_is_about() -> None:
    runs = [
        run(f"n{day}", day=day, config={"own_kernel_sources": {"silu_mul": code}})
        for day, code in ((1, "8853effc2db6"), (2, "f6b343969b86"))
    ]
    assert len(group(runs)) == 1
    assert [one.field for one in differing_config([run.result for run in runs])] == [
        "own_kernel_sources"
    ]
