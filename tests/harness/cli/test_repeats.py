"""`--repeats`, as typed, and what the other commands make of it; no time is asserted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from llmbench.harness.cli import main
from llmbench.harness.cli.exits import Exit
from llmbench.harness.mock.rule import Rule
from llmbench.harness.mock.server import MockServer
from llmbench.harness.run.seeds import seed_of_repeat
from llmbench.harness.storage.store import write_run

from ..mock.in_thread import in_thread
from ..repeats.made import invalid, make_run, on_disk, partial

SMALL = ("--num-requests", "6", "--max-output-len", "6", "--threads", "1", "--device", "cpu")
SHORT = ("--quality-tokens", "0", "--warmup-requests", "1")


def llmbench(*arguments: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(list(arguments))
    return int(left.value.code or 0)


def results(out: Path) -> list[dict]:
    return [json.loads(one.read_text()) for one in sorted(out.glob("repeat-*/result.json"))]


def written(out: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in out.rglob("*.parquet")}


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """Two repeated runs on disk; of each pair the second is a fifth slower."""
    before = [make_run(at, ttft__p99=0.1 + 0.01 * at) for at in (1, 2, 3)]
    factors = (1.19, 1.20, 1.21)
    after = [
        make_run(at, ttft__p99=factor * (0.1 + 0.01 * at))
        for at, factor in enumerate(factors, start=1)
    ]
    return on_disk(tmp_path / "a", before), on_disk(tmp_path / "b", after)


def test_a_repeated_run_is_runs_and_a_summary_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    command = ("run", *SMALL, *SHORT, "--seed", "4", "--out", str(out), "--repeats")
    code = llmbench(*command, "2")
    printed = capsys.readouterr()
    found = results(out)
    # A busy machine may make a run invalid, and then it says so.
    expected = Exit.OK if all(one["validity"]["valid"] for one in found) else Exit.INVALID
    assert code == expected, printed.err
    assert "repeat 2 of 2: measuring 6 requests" in printed.err
    # By the names that reports have; six requests have no steady window.
    assert "\nOutput throughput, whole run" in printed.out
    assert "output_throughput.window" not in printed.out
    names = {"repeat-1", "repeat-2", "repeats.html", "repeats.json", "repeats.md"}
    assert {path.name for path in out.iterdir()} == names
    assert [one["config"]["seed"] for one in found] == [4, seed_of_repeat(4, 2)]
    assert len({one["workload"]["fingerprint"] for one in found}) == 2
    told = json.loads((out / "repeats.json").read_text())
    assert [run["seed"] for run in told["runs"]] == [4, seed_of_repeat(4, 2)]
    assert told["runs"][1]["values"]["ttft.p50"] == found[1]["metrics"]["ttft"]["stats"]["p50"]

    times = written(out)
    assert llmbench(*command, "3", "--json") in (Exit.OK, Exit.INVALID)
    assert len(json.loads(capsys.readouterr().out)["runs"]) == 3
    assert {path: path.stat().st_mtime_ns for path in times} == times, "kept, not run again"
    assert llmbench(*command, "2") == Exit.USAGE
    assert "holds repeat-3; expected --repeats 3 or more" in capsys.readouterr().err
    assert llmbench(*command, "3", "--engine", "inflight") == Exit.USAGE
    said = "holds a run of other settings or requests (engine is paged there, inflight here)"
    assert said in capsys.readouterr().err
    assert llmbench(*command, "3", "--max-output-len", "3") == Exit.USAGE
    assert "max_output_len is " in capsys.readouterr().err


def test_one_repeat_is_a_run_as_ever(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert llmbench("run", *SMALL, *SHORT, "--repeats", "1", "--out", str(out), "-q") in (0, 3)
    files = {"result.json", "report.html", "report.md", "requests.parquet", "steps.parquet"}
    assert {path.name for path in out.iterdir()} == files


def test_a_server_is_measured_again_with_other_requests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "runs"
    with in_thread(MockServer(Rule(0.002, 0.001).script)) as url:
        command = ["run", "--target", "openai", "--base-url", url, "--num-requests", "10"]
        command += ["--max-output-len", "4", "--metrics-interval", "0", "--out", str(out)]
        assert llmbench(*command, "--repeats", "2", "--json") in (Exit.OK, Exit.INVALID)
        assert len(json.loads(capsys.readouterr().out)["runs"]) == 2
        times = written(out)
        assert llmbench(*command, "--repeats", "2", "-q") in (Exit.OK, Exit.INVALID)
        assert written(out) == times
    found = results(out)
    assert [one["counters"]["requests_ok"] for one in found] == [10, 10]
    assert len({one["workload"]["fingerprint"] for one in found}) == 2


def test_a_simulation_is_repeated_with_other_requests(tmp_path: Path) -> None:
    out = tmp_path / "runs"
    command = ("simulate", "--num-requests", "30", "--hardware", "h100", "--repeats", "2")
    assert llmbench(*command, "--out", str(out), "-q") in (Exit.OK, Exit.INVALID)
    assert len({one["workload"]["fingerprint"] for one in results(out)}) == 2
    assert "Simulated, not measured" in (out / "repeats.md").read_text()


def test_a_repeat_that_is_not_valid_is_named_in_the_exit_code_and_the_reports(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from llmbench.harness.cells.real import RealCells
    from llmbench.harness.run.experiment import Measured

    def measure(_cells: RealCells, _overrides: object, seed: int) -> Measured:
        run = make_run(1, seed=seed)
        run = run if seed == 0 else invalid(run)
        return Measured(run.result, run.requests, run.steps)

    monkeypatch.setattr(RealCells, "measure", measure)
    out = tmp_path / "runs"
    assert llmbench("run", *SMALL, "--repeats", "2", "--out", str(out), "-q") == Exit.INVALID
    printed = capsys.readouterr()
    assert "invalid run, in no mean: repeat-2: it is marked invalid" in printed.err
    assert (printed.err + printed.out).count("it is marked invalid") == 1
    assert "(repeat-2)" in printed.out
    assert "repeat-2 does not count" in (out / "repeats.html").read_text()
    assert (out / "repeat-2" / "result.json").exists()


@pytest.mark.parametrize("counts", [True, False])
def test_the_terminal_says_what_its_columns_are_where_the_report_is_and_nothing_of_nothing(
    counts: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from llmbench.harness.cells.real import RealCells
    from llmbench.harness.run.experiment import Measured

    def measure(_cells: RealCells, _overrides: object, seed: int) -> Measured:
        run = make_run(1, seed=seed)
        run = run if counts else invalid(run)
        return Measured(run.result, run.requests, run.steps)

    monkeypatch.setattr(RealCells, "measure", measure)
    monkeypatch.chdir(tmp_path)
    code = llmbench("run", *SMALL, "--repeats", "2", "--out", "runs/two", "-q")
    printed = capsys.readouterr()
    assert "report  runs/two/repeats.html\n" in printed.err
    assert "again    llmbench report runs/two\n" in printed.err
    assert ("Runs ±: the standard deviation between runs" in printed.out) is counts
    assert ("interval of the mean over runs, by Student's t" in printed.out) is counts
    assert ("metric" in printed.out) is counts
    assert code == (Exit.OK if counts else Exit.INVALID)
    if not counts:
        assert printed.out == "No repeat is a run that counts.\n"
        assert printed.err.count("it is marked invalid") == 2


@pytest.mark.parametrize("measured", [True, False])
def test_ctrl_c_keeps_what_ended_and_says_how_to_go_on(
    measured: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from llmbench.harness.cells.real import RealCells
    from llmbench.harness.run.experiment import Measured

    def measure(_cells: RealCells, _overrides: object, seed: int) -> Measured:
        run = make_run(1, seed=seed)
        if seed:
            run = partial(run)
            if not measured:
                raise KeyboardInterrupt
        return Measured(run.result, run.requests, run.steps)

    monkeypatch.setattr(RealCells, "measure", measure)
    out = tmp_path / "runs"
    assert llmbench("run", *SMALL, "--repeats", "3", "--out", str(out), "-q") == Exit.INTERRUPTED
    assert f"the same command with --out {out} goes on" in capsys.readouterr().err
    assert [one["status"] for one in results(out)] == ["complete", *["partial"] * measured]


def test_repeated_runs_are_compared_pair_by_pair(
    pair: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = map(str, pair)
    out = tmp_path / "comparison"
    assert llmbench("compare", before, after, "--json", "--out", str(out)) == Exit.OK
    told = json.loads(capsys.readouterr().out)
    assert (told["runs"], told["between"]["runs"]) == (["a", "b"], [3, 3])
    (row,) = [one for one in told["rows"] if (one["id"], one["stat"]) == ("ttft", "p99")]
    assert row["ratios"][1]["verdict"] == "worse"
    assert "3 pairs of runs" in (out / "comparison.html").read_text()
    assert llmbench("compare", before, after) == Exit.OK
    assert "but those marked alone, by Student's t" in capsys.readouterr().out
    assert llmbench("compare", before, f"{after}/repeat-1") == Exit.USAGE
    error = capsys.readouterr().err
    assert "repeated runs alone" in error
    assert len(error.strip().splitlines()) == 1


def test_a_gate_takes_repeated_runs(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = map(str, pair)
    gate = ("gate", "--baseline", before, "--current")
    assert llmbench(*gate, after, "--max-regression", "ttft.p99=5%") == Exit.REGRESSED
    assert "over 3 pairs of runs" in capsys.readouterr().out
    assert llmbench(*gate, after, "--max-regression", "ttft.p99=30%") == Exit.OK
    assert llmbench(*gate, f"{after}/repeat-1", "--max-regression", "ttft.p99=5%") == Exit.USAGE


def test_other_commands_take_the_directory_or_say_what_they_take(
    pair: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    directory = pair[0]
    assert llmbench("report", str(directory)) == Exit.OK
    assert "repeats.html" in capsys.readouterr().err
    assert (directory / "repeat-3" / "report.html").exists()
    assert "[repeat-3](repeat-3/report.html)" in (directory / "repeats.md").read_text()
    for command in (("explain",), ("export", "--format", "csv")):
        assert llmbench(*command, str(directory)) == Exit.USAGE
        error = capsys.readouterr().err.strip()
        assert f"repeats of a run; expected one of them, such as {directory / 'repeat-1'}" in error
        assert len(error.splitlines()) == 1
    assert llmbench("explain", str(directory / "repeat-1")) == Exit.OK


def test_history_sets_the_repeats_of_one_number_in_a_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for night in ("monday", "tuesday"):
        for at in (1, 2):
            run = make_run(at)
            directory = tmp_path / night / run.directory
            write_run(directory, run.result, run.requests, run.steps, {})
    assert llmbench("history", str(tmp_path), "--json") == Exit.OK
    told = json.loads(capsys.readouterr().out)
    named = [[run["name"] for run in series["runs"]] for series in told["series"]]
    assert named == [
        ["monday/repeat-1", "tuesday/repeat-1"],
        ["monday/repeat-2", "tuesday/repeat-2"],
    ]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--repeats", "0"), "repeats: 0 is not allowed; expected 1 or more"),
        (("run", "--repeats", "2", "--quant", "none,awq"), "repeats: 2"),
        (("simulate", "--repeats", "-1"), "repeats: -1"),
        (("sweep", "--out", "s", "--", "run", "--repeats", "2"), "--repeats, which is the sweep's"),
    ],
)
def test_what_cannot_be_is_one_line_before_anything_runs(
    arguments: tuple[str, ...],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert llmbench(*arguments) == Exit.USAGE
    error = capsys.readouterr().err.strip()
    assert words in error
    assert len(error.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
