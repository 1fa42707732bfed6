"""`llmbench gate` and `llmbench ab` as they are typed, without a model."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from llmbench.harness.ab import side
from llmbench.harness.ab.protocol import Trial
from llmbench.harness.ab.side import SideOptions
from llmbench.harness.cli.app import main
from llmbench.harness.errors import InvalidRun
from llmbench.harness.gate import virtual
from llmbench.harness.result import Result

from ..ab.fakes import FakeSide

FILE = """\
gate: 1
runs:
  chat:
    options: {engine: vllm-v1, num-requests: 12, kv-memory: 2MiB, max-model-len: 512}
"""


def _main(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    return int(caught.value.code or 0)


@pytest.fixture
def gate_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    path = tmp_path / "gate.yaml"
    path.write_text(FILE)
    return path


def test_update_then_pass_then_fail(gate_yaml: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = ("gate", "--baseline", "gate.yaml")
    assert _main(*gate) == 4  # never made
    assert _main(*gate, "--update") == 0
    assert "+      counters.steps:" in capsys.readouterr().out
    assert _main(*gate) == 0
    assert _main(*gate, "--update") == 0
    said = capsys.readouterr()
    assert "nothing changed" in said.err

    steps = next(line for line in gate_yaml.read_text().splitlines() if "counters.steps" in line)
    gate_yaml.write_text(gate_yaml.read_text().replace(steps, "      counters.steps: 1"))
    code = _main(*gate, "--github", "--junit", "gate.xml", "--markdown", "gate.md")
    assert code == 1
    said = capsys.readouterr().out
    assert "::error title=regressed%3A chat%3A counters.steps,file=gate.yaml::1 -> " in said
    assert ElementTree.parse("gate.xml").getroot().get("failures") == "1"
    assert Path("gate.md").read_text().strip() == Path("summary.md").read_text().strip()


def test_a_run_that_is_not_valid_is_exit_code_3(
    gate_yaml: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusing(_: Mapping[str, Any]) -> Result:
        raise InvalidRun("one request was refused")

    monkeypatch.setattr(virtual, "simulate_options", refusing)
    assert _main("gate", "--baseline", gate_yaml.name, "--github") == 3
    assert "invalid,file=gate.yaml::runs.chat: one request was refused" in capsys.readouterr().out


def test_a_crash_is_no_verdict(
    gate_yaml: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(_: Mapping[str, Any]) -> Result:
        raise RuntimeError("a policy planned nothing")

    monkeypatch.setattr(virtual, "simulate_options", broken)
    Path("gate.md").write_text("✅ passed")
    reports = ("--github", "--markdown", "gate.md", "--junit", "gate.xml")
    assert _main("gate", "--baseline", gate_yaml.name, *reports) == 70
    said = capsys.readouterr()
    assert "RuntimeError: a policy planned nothing\nruns.chat\n" in said.err
    line = "runs.chat: RuntimeError: a policy planned nothing"
    assert said.out == f"::error title=llmbench gate%3A undecided,file=gate.yaml::{line}\n"
    assert f"- `{line}`" in Path("gate.md").read_text()
    assert "✅" not in Path("gate.md").read_text()
    assert ElementTree.parse("gate.xml").getroot().get("errors") == "1"


def test_a_baseline_that_is_refused_is_reported_in_place_of_the_last_verdict(
    gate_yaml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever reads only the reports took the one before for this one."""
    gate = ("gate", "--baseline", gate_yaml.name, "--markdown", "gate.md", "--junit", "gate.xml")
    assert _main(*gate) == 4
    gate_yaml.write_text(FILE.replace("vllm-v1", "nonesuch"))
    assert _main(*gate, "--github") == 2
    said = capsys.readouterr()
    refused = "gate.yaml: runs.chat: engine: 'nonesuch' is not allowed; expected one of "
    assert said.err.startswith(f"error: {refused}")
    assert f"::error title=llmbench gate%3A undecided,file=gate.yaml::{refused}" in said.out
    for report in ("gate.md", "gate.xml", "summary.md"):
        assert "nonesuch" in Path(report).read_text()
        assert "never made" not in Path(report).read_text()


def test_in_a_workflow_annotations_come_by_themselves(
    gate_yaml: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    _main("gate", "--baseline", gate_yaml.name)
    assert "::warning title=inconclusive%3A chat,file=gate.yaml::" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ("--baseline", "missing.yaml"),
        ("--baseline", "."),
        ("--baseline", "gate.yaml", "--max-regression", "ttft.p99=1%"),
        ("--baseline", "gate.yaml", "--max-regression", "ttft.p99=1%", "--update"),
        ("--baseline", "gate.yaml", "--run", "other"),
        ("--baseline", "gate.yaml", "--update", "--run", "other"),
        ("--baseline", ".", "--current", ".", "--update"),
    ],
)
@pytest.mark.usefixtures("gate_yaml")
def test_mistakes_are_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert _main("gate", *arguments) == 2


def test_a_file_beside_a_stored_run_is_told_what_it_is(
    gate_yaml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It exists: what it is not is a run."""
    for field, words in (
        ("baseline", ("--baseline", gate_yaml.name, "--current", ".")),
        ("current", ("--baseline", ".", "--current", gate_yaml.name)),
    ):
        assert _main("gate", *words) == 2
        said = " ".join(capsys.readouterr().err.split())
        assert (
            f"{field}: 'gate.yaml' is not allowed; expected the directory of a stored run" in said
        )
        assert "does not exist" not in said


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> list[SideOptions]:
    """Sides without a process; B takes 1.3 times as long if its options say so."""
    asked: list[SideOptions] = []

    @contextmanager
    def fake(a: SideOptions, b: SideOptions) -> Iterator[tuple[FakeSide, FakeSide]]:
        asked.extend((a, b))
        slower = 1.3 if "slow" in b.options else 1.0
        times = iter(1 + 0.001 * (step % 7) for step in range(10_000))
        first, second = (FakeSide(lambda _, by=by: by * next(times) / 100) for by in (1.0, slower))
        yield first, second

    monkeypatch.setattr(side, "both", fake)
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    return asked


AB = ("ab", "--max-regression", "tpot.mean=5%", "--quiet")


def test_ab_takes_options_in_quotes_and_says_what_it_found(
    sides: list[SideOptions], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    junit = tmp_path / "ab.xml"
    code = _main(*AB, "--engine paged", "--engine paged slow", "--junit", str(junit))

    assert code == 1
    assert [list(one.options) for one in sides] == [
        ["--engine", "paged"],
        ["--engine", "paged", "slow"],
    ]
    assert "regressed  tpot.mean=5%:" in capsys.readouterr().out
    assert ElementTree.parse(junit).getroot().get("failures") == "1"


@pytest.mark.parametrize("option", ["--markdown", "--junit", "--out", "--html"])
def test_ab_finds_out_that_it_cannot_write_before_it_measures(
    option: str, sides: list[SideOptions], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Known wrong here: it said so after its ten minutes, with exit code 2 in place of the verdict,
    and of `out`, whatever the option."""
    (tmp_path / "file").touch()
    assert _main(*AB, "--engine paged", option, str(tmp_path / "file" / "report")) == 2
    assert not sides
    said = capsys.readouterr()
    assert said.err.startswith(f"error: {option.removeprefix('--')}: ")
    assert not said.out


def test_ab_that_is_refused_leaves_no_earlier_verdict(
    sides: list[SideOptions], tmp_path: Path
) -> None:
    page = tmp_path / "ab.md"
    page.write_text("✅ passed")
    assert _main(*AB, "--engine paged", "--pairs", "few", "--markdown", str(page)) == 2
    assert not sides
    assert page.read_text().startswith("**⛔ `llmbench ab`: undecided: an error ended it**")
    assert "pairs: 'few' is not allowed" in page.read_text()


@pytest.mark.parametrize("option", ["--markdown", "--junit"])
def test_an_update_writes_no_verdict(
    option: str, gate_yaml: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = gate_yaml.read_text()
    assert _main("gate", "--baseline", gate_yaml.name, "--update", option, "report") == 2
    assert "expected unset: --update judges nothing" in capsys.readouterr().err
    assert gate_yaml.read_text() == before
    assert not Path("report").exists()


def test_ab_writes_down_what_ran_and_every_trial(sides: list[SideOptions], tmp_path: Path) -> None:
    assert _main(*AB, "--engine paged", "--out", str(tmp_path / "ab.json")) == 0
    told = json.loads((tmp_path / "ab.json").read_text())
    assert told["configs"] == [{"engine": "fake"}] * len(sides)
    assert len(told["a"]) == len(told["b"]) == told["pairs"]


def test_ab_draws_a_report_and_its_file_gives_the_same(
    sides: list[SideOptions], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page, out = tmp_path / "page" / "first.html", tmp_path / "ab.json"
    words = ("--engine paged", "--engine paged slow", "--html", str(page), "--out", str(out))
    assert _main(*AB, *words) == 1
    assert len(sides) == 2
    told = capsys.readouterr()
    assert told.out.startswith("llmbench ab: regressed")
    assert "first.html" in "".join(told.err.split())
    assert "B is worse than A by more than the 5\u00a0% allowed: TPOT mean" in page.read_text()

    assert _main("report", str(out)) == 0
    assert (tmp_path / "ab.html").read_bytes() == page.read_bytes()


def end_after_nine(monkeypatch: pytest.MonkeyPatch, ended: BaseException) -> None:
    """A side's tenth trial ends the comparison."""
    trial = FakeSide.trial

    def ends(self: FakeSide, seed: int, num_requests: int, limit_s: float) -> Trial:
        if len(self.trials) == 9:
            raise ended
        return trial(self, seed, num_requests, limit_s)

    monkeypatch.setattr(FakeSide, "trial", ends)


def test_ab_that_is_cut_short_draws_what_it_measured(
    sides: list[SideOptions],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    end_after_nine(monkeypatch, KeyboardInterrupt())
    page = tmp_path / "ab.html"
    assert _main(*AB, "--engine paged", "--num-requests", "4", "--html", str(page)) == 130
    assert len(sides) == 2
    text = page.read_text()
    assert "No verdict on whether B is worse than A: the comparison was cut short." in text
    assert "Every pair of TPOT mean" in text
    assert "ab.html: --out keeps it" in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("ended", "code"), [(InvalidRun("b: a trial did not end"), 3), (KeyboardInterrupt(), 130)],
    ids=["hangs", "^C"],
)  # fmt: skip
def test_ab_that_is_cut_short_keeps_what_it_measured(
    sides: list[SideOptions],
    ended: BaseException,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    end_after_nine(monkeypatch, ended)
    out = tmp_path / "ab.json"
    assert _main(*AB, "--engine paged", "--num-requests", "4", "--out", str(out)) == code
    assert len(sides) == 2
    told = json.loads(out.read_text())
    assert told["status"] == "partial"
    assert len(told["a"]) == len(told["b"]) == 8
    said = capsys.readouterr()
    headline = "undecided: interrupted" if code == 130 else "invalid"
    assert f"llmbench ab: {headline}" in said.out
    assert "ab.json, marked partial" in " ".join(said.err.split())


def test_ab_of_two_trees_shares_its_options(sides: list[SideOptions], tmp_path: Path) -> None:
    options = tmp_path / "paged.yaml"
    options.write_text("engine: paged\nkernel: [a=b, c=d]\nverify-kernels: true\n")

    assert _main(*AB, str(options), "--a-tree", "base", "--b-tree", ".") == 0
    assert sides[0].options == sides[1].options
    assert list(sides[0].options) == [
        "--engine=paged",
        "--kernel=a=b",
        "--kernel=c=d",
        "--verify-kernels",
    ]
    assert [one.tree for one in sides] == [Path("base"), Path(".")]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--max-regression", "tpot.mean=2ms"),
        ("--max-regression", "preemptions=5%"),
        ("--max-regression", "output_throughput.window=5%"),
        ("--effect", "2%"),
        ("--pairs", "few"),
        ("--pairs", "3"),
        ("--pairs", "0"),
        ("--num-requests", "0"),
        ("missing.yaml",),
    ],
)
def test_mistakes_of_ab_are_exit_code_2(
    sides: list[SideOptions], arguments: tuple[str, ...]
) -> None:
    assert _main("ab", "--quiet", *arguments) == 2
    assert sides == []
