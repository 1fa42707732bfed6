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
configuration, or what `llmbench_baseline` in it says; `pytest --llmbench-update` rewrites the runs
of the tests that it ran, from several processes of pytest-xdist, too. Loaded in every pytest of an
environment, so nothing but pytest is imported until a fixture is asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    """What the fixture `llmbench_gate` gives. name: of the run in the baseline file."""

    def __init__(self, baseline: Path, name: str, *, update: bool) -> None:
        self._baseline = baseline
        self._name = name
        self._update = update

    def __call__(self, *, name: str | None = None, **options: Any) -> Result:
        """Make the run in virtual time and hold it to the baseline; fails the test, with a line a
        quantity, where it changed for the worse. name: in the file; by default the test's. Returns
        the run's result."""
        from .gate.baseline import put_run
        from .gate.exact import judge_run, run_of
        from .gate.text import to_text
        from .gate.verdicts import Verdicts, exit_code
        from .machine.environment import package_version

        name = name or self._name
        given = {key.replace("_", "-"): value for key, value in options.items()}
        result = simulated(given)
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
        rows = tuple(judge_run(name, before, now))
        if code := exit_code(row.verdict for row in rows):
            pytest.fail(to_text(Verdicts("llmbench gate", code, rows)), pytrace=False)
        return result

    def _read(self, name: str) -> BaselineRun:
        from .gate.baseline import read_baseline

        runs = read_baseline(self._baseline).runs if self._baseline.exists() else {}
        if name not in runs:
            pytest.fail(
                f"{name}: not in {self._baseline.name}; pytest --llmbench-update makes it",
                pytrace=False,
            )
        return runs[name]


def simulated(options: dict[str, Any]) -> Result:
    """The result in virtual time. Raises InvalidRun for one that is not valid."""
    from .gate.exact import refuse_invalid
    from .gate.virtual import simulate_options

    result = simulate_options(options)
    refuse_invalid(result)
    return result


@pytest.fixture
def llmbench_gate(request: pytest.FixtureRequest) -> Gate:
    """Holds runs in virtual time to the committed baseline."""
    config = request.config
    baseline = config.rootpath / str(config.getini("llmbench_baseline"))
    return Gate(baseline, request.node.name, update=bool(config.getoption("--llmbench-update")))


@pytest.fixture
def llmbench_run():
    """Makes a run in virtual time and returns its `Result`."""

    def run(**options: Any) -> Result:
        return simulated({key.replace("_", "-"): value for key, value in options.items()})

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
