"""Where the runs at capacity of several engines are stored, and what is said of it."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import pytest
from llmbench.harness.cells import runner
from llmbench.harness.cli import main
from llmbench.harness.errors import PlaceTaken
from llmbench.harness.simulation import simulated_capacity
from llmbench.harness.simulation.simulated_capacity import EngineCapacity
from llmbench.harness.storage.store import CAPACITY_FILES, RUN_FILES

OUT = "runs [of two]"
ASKED = "capacity --compare paged,trtllm --slo ttft:9s --num-requests 2 --quiet --out"
ONE = ASKED.replace("--compare paged,trtllm", "--engine paged").replace("9s", "500ms")
NEVER = ONE.replace("500ms", "1us")


def llmbench(monkeypatch: pytest.MonkeyPatch, command: str) -> int:
    """A command as a shell hands it over."""
    monkeypatch.setattr(sys, "argv", ["llmbench", *shlex.split(command)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_every_place_that_was_taken_meanwhile_is_named_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong of all but the last: "runs \\\\[of two]"."""

    def taken(directory: Path, *_: object) -> NoReturn:
        raise PlaceTaken(directory, directory.with_name("kept"))

    monkeypatch.setattr(runner, "store_measured", taken)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main([*ASKED.split(), OUT])
    said = "".join(capsys.readouterr().err.split("\n"))
    assert "\\" not in said
    assert f"{OUT}/paged" in said
    assert f"{OUT}/trtllm" in said


def test_what_was_found_is_kept_beside_the_runs_at_capacity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known missing here: the capacity itself, its interval and every rate that was tried."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        main([*ASKED.replace("9s", "500ms").replace("--quiet ", "").split(), "found"])
    assert ended.value.code == 0
    said = " ".join(capsys.readouterr().out.split())
    setting = "llama-3-8b, bfloat16, 1 × h100 (simulated), azure-conv, 2 requests"
    assert said.startswith(setting)
    out = tmp_path / "found"
    told = json.loads((out / "capacity.json").read_text())
    assert [one["label"] for one in told["engines"]] == ["paged", "trtllm"]
    for one in told["engines"]:
        assert one["setting"] == setting
        for report in ("capacity.md", "capacity.html"):
            # An answer has no mark that either would escape but these.
            text = (out / report).read_text().replace("\u00a0", " ").replace("\\~", "~")
            assert one["answer"].split(" (")[0] in text
    assert "(paged/report.html)" in (out / "capacity.md").read_text()
    assert (out / "paged" / "report.html").is_file()


def test_a_capacity_is_searched_for_again_where_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known wrong once here: "holds other files (capacity.html)"."""
    monkeypatch.chdir(tmp_path)
    asked = "capacity --engine paged --slo ttft:500ms --num-requests 2 --quiet --out once"
    for more in ([], ["--overwrite"]):
        with pytest.raises(SystemExit) as ended:
            main([*asked.split(), *more])
        assert ended.value.code == 0
        assert {one.name for one in (tmp_path / "once").iterdir()} == RUN_FILES


def test_the_answer_of_another_command_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong here: replaced without notice by one of other engines."""
    monkeypatch.chdir(tmp_path)
    answer = tmp_path / "c" / "capacity.json"
    others = ASKED.replace("paged,trtllm", "orca,sarathi")
    assert llmbench(monkeypatch, f"{ASKED} c") == 0
    before = answer.read_bytes()
    assert json.loads(before)["command"] == "llmbench " + ASKED.removesuffix(" --quiet --out")
    capsys.readouterr()

    assert llmbench(monkeypatch, f"{others} c") == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: out: 'c' holds capacities of 'llmbench capacity --compare paged")
    assert line.endswith("expected a new directory; --overwrite replaces this one")
    assert answer.read_bytes() == before

    assert llmbench(monkeypatch, f"{others} c --overwrite") == 0
    assert [one["engine"] for one in json.loads(answer.read_text())["engines"]] == [
        "orca",
        "sarathi",
    ]
    assert llmbench(monkeypatch, f"{others} c") == 0


def test_capacities_of_several_engines_do_not_go_into_the_run_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    one = ASKED.replace("--compare paged,trtllm", "--engine paged")
    assert llmbench(monkeypatch, f"{one} c") == 0
    capsys.readouterr()
    assert llmbench(monkeypatch, f"{ASKED} c --overwrite") == 2
    assert "holds a run; expected another directory" in capsys.readouterr().err
    assert {one.name for one in (tmp_path / "c").iterdir()} == RUN_FILES


@pytest.mark.parametrize("more", ["", " --overwrite"])
def test_a_capacity_that_no_rate_has_is_searched_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str
) -> None:
    """Known wrong here: "holds other files (capacity.html)", also with --overwrite."""
    monkeypatch.chdir(tmp_path)
    for words in ("", more):
        assert llmbench(monkeypatch, f"{NEVER} never{words}") == 0
        assert {one.name for one in (tmp_path / "never").iterdir()} == set(CAPACITY_FILES)


def test_the_answer_that_no_rate_holds_is_another_commands_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert llmbench(monkeypatch, f"{NEVER} c") == 0
    before = (tmp_path / "c" / "capacity.json").read_bytes()
    capsys.readouterr()
    simulated = "simulate --workload quick --num-requests 2 --quiet --out c"
    for command in (f"{ONE} c", simulated):
        assert llmbench(monkeypatch, command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith("error: out: 'c' holds a capacity of 'llmbench capacity --engine")
    assert (tmp_path / "c" / "capacity.json").read_bytes() == before

    assert llmbench(monkeypatch, f"{ONE} c --overwrite") == 0
    assert {one.name for one in (tmp_path / "c").iterdir()} == RUN_FILES
    assert json.loads((tmp_path / "c" / "capacity.json").read_text())["engines"][0]["holds"]


def _no_longer_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every run at capacity that is found from here on is not."""
    search = simulated_capacity.engine_capacity

    def searched(*args: Any) -> EngineCapacity:
        found = search(*args)
        assert found.run is not None
        validity = found.run.result.validity.model_copy(update={"valid": False})
        result = found.run.result.model_copy(update={"validity": validity})
        return replace(found, run=replace(found.run, result=result))

    monkeypatch.setattr(simulated_capacity, "engine_capacity", searched)


def test_an_answer_goes_where_its_run_went(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Known wrong here: a run that is not valid is kept beside one that is, its answer was not."""
    monkeypatch.chdir(tmp_path)
    assert llmbench(monkeypatch, f"{ONE} c") == 0
    before = (tmp_path / "c" / "capacity.json").stat()
    _no_longer_valid(monkeypatch)
    assert llmbench(monkeypatch, f"{ONE} c") == 0
    assert (tmp_path / "c" / "capacity.json").stat() == before
    assert {one.name for one in (tmp_path / "c-2").iterdir()} == RUN_FILES
    assert "(report.html)" in (tmp_path / "c-2" / "capacity.md").read_text()


def test_an_answer_links_the_runs_that_it_is_about(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known wrong here: "paged/report.html", of an earlier search."""
    monkeypatch.chdir(tmp_path)
    assert llmbench(monkeypatch, f"{ASKED} c") == 0
    _no_longer_valid(monkeypatch)
    assert llmbench(monkeypatch, f"{ASKED} c") == 0
    text = (tmp_path / "c" / "capacity.md").read_text()
    assert "(paged-2/report.html)" in text
    assert "(paged/report.html)" not in text


def test_no_earlier_run_stands_beside_the_answer_that_no_rate_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Known wrong here: the run of the command that was overwritten stayed."""
    monkeypatch.chdir(tmp_path)
    assert llmbench(monkeypatch, f"{ONE} one") == 0
    assert llmbench(monkeypatch, f"{NEVER} one --overwrite") == 0
    assert {one.name for one in (tmp_path / "one").iterdir()} == set(CAPACITY_FILES)
    assert llmbench(monkeypatch, f"{ASKED} two") == 0
    assert (tmp_path / "two" / "paged" / "result.json").exists()
    assert llmbench(monkeypatch, f"{ASKED.replace('9s', '1us')} two --overwrite") == 0
    assert {one.name for one in (tmp_path / "two").iterdir()} == set(CAPACITY_FILES)
    assert {one.name for one in tmp_path.iterdir()} == {"one", "two"}


def test_a_run_that_came_meanwhile_stays_where_no_rate_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert llmbench(monkeypatch, f"{ONE} elsewhere") == 0
    search = simulated_capacity.engine_capacity

    def while_another_ends(*args: Any) -> EngineCapacity:
        for place in ("one", "two/paged"):
            if not Path(place).exists():
                shutil.copytree("elsewhere", place)
        return search(*args)

    monkeypatch.setattr(simulated_capacity, "engine_capacity", while_another_ends)
    assert llmbench(monkeypatch, f"{ASKED.replace('9s', '1us')} two") == 0
    shutil.rmtree("one")
    capsys.readouterr()
    assert llmbench(monkeypatch, f"{NEVER} one") == 2
    assert f"this one is {tmp_path / 'one-2'}" in capsys.readouterr().err
    for place in ("one", "two/paged"):
        assert {one.name for one in (tmp_path / place).iterdir()} == RUN_FILES
    assert {one.name for one in (tmp_path / "one-2").iterdir()} == set(CAPACITY_FILES)
