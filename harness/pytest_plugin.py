"""The pytest plugin: a gate as a test, beside pytest-benchmark.

    def test_chat(llmbench_gate):
        llmbench_gate(engine="vllm-v1", num_requests=60)        # against the committed baseline

    def test_no_preemptions(llmbench_run):
        result = llmbench_run(engine="paged", kv_memory="64MiB")
        assert result.counters.preemptions == 0

    def test_not_slower(llmbench_ab):
        llmbench_ab("--engine paged", "--engine paged --quant awq", max_regression="5%")

Options are those of `llmbench simulate` with underscores, of the bundled model unless one is named;
`llmbench_ab` takes those of `llmbench run`. The baseline is `llmbench-gate.yaml` beside pytest's
configuration, or what `llmbench_baseline` in it says. There a run is called by its file and test,
or as `name=` says, which a test's second call needs. `pytest --llmbench-update` rewrites the runs
of the tests that it ran, from several processes of pytest-xdist, too. Loaded in every pytest of an
environment, so nothing but pytest is imported until a fixture is asked for.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .ab.compare import Outcome
    from .gate.baseline import BaselineRun
    from .result import Result

DEFAULT_BASELINE = "llmbench-gate.yaml"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("llmbench")
    group.addoption(
        "--llmbench-update",
        action="store_true",
        help="Rewrite the gate's baseline with what the runs of these tests do now.",
    )
    parser.addini("llmbench_baseline", "The gate's baseline file.", default=DEFAULT_BASELINE)


class Gate:
    """What the fixture `llmbench_gate` gives.

    root: what paths among options are kept relative to, and the baseline file is below. test: its
    node id. runs: a folder of this session's, shared by its processes, of which test made each run.
    """

    def __init__(self, root: Path, baseline: Path, test: str, runs: Path, *, update: bool) -> None:
        self._root = root
        self._baseline = baseline
        self._test = test
        self._runs = runs
        self._update = update
        self._made: set[str] = set()

    def __call__(self, *, name: str | None = None, **options: Any) -> Result:
        """Make the run in virtual time and hold it to the baseline; fails the test, with a line a
        quantity, where it changed for the worse. name: in the file, where each is of one call; by
        default `tests/test_file.py/test_name`. Returns the run's result."""
        from .gate.baseline import put_run
        from .gate.exact import judge_run, run_of
        from .gate.text import to_text
        from .gate.verdicts import Verdicts, exit_code, worst_first
        from .machine.environment import package_version

        # Two colons begin a command in some build servers' logs.
        name = name or self._test.replace("::", "/")
        self._claim(name)
        result = simulated(options)
        given = plain_options(options, self._root)
        now = run_of(given, result)
        if self._update:
            put_run(self._baseline, name, now, package_version("llmbench") or "not installed")
            return result
        before = self._read(name)
        if dict(before.options) != given:
            pytest.fail(
                f"{name}: the baseline was made with other options; if these are meant: "
                "pytest --llmbench-update",
                pytrace=False,
            )
        rows = worst_first(judge_run(name, before, now))
        if code := exit_code(row.verdict for row in rows):
            pytest.fail(to_text(Verdicts("llmbench gate", code, rows)), pytrace=False)
        return result

    def _claim(self, name: str) -> None:
        """Two calls of one name would take turns at rewriting one run. A test that is run again is
        the same call."""
        before = _first_claim(self._runs, name, self._test)
        if before != self._test or name in self._made:
            pytest.fail(f"{name}: already a run of {before}; give this one a name=", pytrace=False)
        self._made.add(name)

    def _read(self, name: str) -> BaselineRun:
        from .gate.baseline import read_baseline

        runs = read_baseline(self._baseline).runs if self._baseline.exists() else {}
        if name not in runs:
            pytest.fail(
                f"{name}: not in {self._baseline.name}; pytest --llmbench-update makes it",
                pytrace=False,
            )
        return runs[name]


def _first_claim(runs: Path, name: str, test: str) -> str:
    """The test that was the first to make a run of this name: this one, unless a file says so."""
    from hashlib import sha256

    from .storage.whole_file import write_whole

    runs.mkdir(exist_ok=True)
    claim = runs / sha256(name.encode()).hexdigest()
    mine = claim.with_suffix(f".{os.getpid()}")
    write_whole(mine, test)
    with suppress(FileExistsError):
        os.link(mine, claim)  # whole, and of one process only
    return claim.read_text(encoding="utf-8")


def plain_options(options: Mapping[str, Any], root: Path | None = None) -> dict[str, Any]:
    """As a baseline file holds them and gives them back: names with dashes, lists, and of what else
    is no text, number or truth value its text. root: what paths below it are relative to."""

    def plain(value: Any) -> Any:
        if isinstance(value, (list, tuple)):
            return [plain(one) for one in value]
        if isinstance(value, Path) and root is not None and value.is_relative_to(root):
            return value.relative_to(root).as_posix()
        known = value is None or type(value) in (str, int, float, bool, dict)
        return value if known else str(value)

    return {key.replace("_", "-"): plain(value) for key, value in options.items()}


def simulated(options: Mapping[str, Any]) -> Result:
    """The result in virtual time of options by the names that Python gives them. Raises InvalidRun
    for one that is not valid."""
    from .gate.exact import refuse_invalid
    from .gate.virtual import simulate_options

    result = simulate_options(plain_options(options))
    refuse_invalid(result)
    return result


@pytest.fixture
def llmbench_gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Gate:
    """Holds runs in virtual time to the committed baseline."""
    config = request.config
    session = tmp_path_factory.getbasetemp()
    if hasattr(config, "workerinput"):  # of pytest-xdist, each with a folder in the session's
        session = session.parent
    baseline = config.rootpath / str(config.getini("llmbench_baseline"))
    return Gate(
        config.rootpath,
        baseline,
        request.node.nodeid,
        session / "llmbench-gate-runs",
        update=bool(config.getoption("--llmbench-update")),
    )


@pytest.fixture
def llmbench_run():
    """Makes a run in virtual time and returns its `Result`."""

    def run(**options: Any) -> Result:
        return simulated(options)

    return run


@pytest.fixture
def llmbench_ab():
    """Compares wall times by turns; fails the test where B is slower, or nothing is sure."""

    def ab(
        a: str,
        b: str | None = None,
        *,
        a_tree: Path | None = None,
        b_tree: Path | None = None,
        max_regression: str | Sequence[str] = "5%",
        effect: str | None = None,
        max_time_s: float = 600.0,
        trial_s: float = 1.0,
        seed: int = 0,
    ) -> Outcome:
        from .ab.compare import Length, compare
        from .ab.questions import questions_of
        from .ab.side import SideOptions, both
        from .ab.verdicts import verdicts_of
        from .gate.text import to_text
        from .options.words import words_of

        rules = [max_regression] if isinstance(max_regression, str) else list(max_regression)
        questions = questions_of(rules, effect)
        sides = (
            SideOptions("a", words_of("a", a), a_tree),
            SideOptions("b", words_of("b", a if b is None else b), b_tree),
        )
        length = Length(max_time_s=max_time_s, trial_s=trial_s)
        with both(*sides) as (first, second):
            outcome = compare(first, second, questions, length, seed=seed)
        if outcome.interrupted:
            raise KeyboardInterrupt
        verdicts = verdicts_of(outcome)
        if verdicts.exit_code:
            pytest.fail(to_text(verdicts), pytrace=False)
        return outcome

    return ab
