"""The plugin in a pytest of its own: update, pass, fail."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = """
OPTIONS = dict(engine="vllm-v1", num_requests=12, kv_memory="2MiB", max_model_len=512)

def test_chat(llmbench_gate):
    result = llmbench_gate(**OPTIONS)
    assert result.counters.requests_ok == 12

def test_worse(llmbench_gate):
    llmbench_gate(**OPTIONS)

def test_named(llmbench_gate):
    llmbench_gate(name="named", **OPTIONS, max_num_seqs=SEATS)

def test_no_preemptions(llmbench_run):
    assert llmbench_run(engine="paged", num_requests=12).counters.preemptions == 0
"""
MISSING = """
def test_missing(llmbench_gate):
    llmbench_gate(**OPTIONS)
"""
AB = """
def test_equal(llmbench_ab):
    outcome = llmbench_ab("--engine paged", max_regression="tpot.mean=5%")
    assert outcome.answers[0].verdict == "passed"

def test_slower(llmbench_ab):
    llmbench_ab("--engine paged", "--engine slow", max_regression=["tpot.mean=5%"])
"""
# Sides without processes; B takes 1.3 times as long if its options say so.
CONFTEST = """
from contextlib import contextmanager
from llmbench.harness.ab import side
from tests.harness.ab.fakes import FakeSide

@contextmanager
def fake(_, b):
    slower = 1.3 if b.options == ["--engine", "slow"] else 1.0
    times = iter(1 + 0.001 * (step % 7) for step in range(10_000))
    yield tuple(FakeSide(lambda _, by=by: by * next(times) / 100) for by in (1.0, slower))

side.both = fake
"""


SAME = """
from pathlib import Path

OPTIONS = dict(num_requests=4, kernel=(), workload=Path(__file__).parent / "chat.yaml")

def test_chat(llmbench_gate):
    llmbench_gate(engine="ENGINE", **OPTIONS)
"""
WORKLOAD = """
num_requests: 4
arrivals: {kind: closed_loop, max_concurrency: 2}
lengths:
  kind: sampled
  input: {kind: fixed, tokens: 16}
  output: {kind: fixed, tokens: 8}
"""
TWICE = """
def test_twice(llmbench_gate):
    for _ in range(2):
        llmbench_gate(num_requests=4)
"""


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """What loads it by name, whether or not this environment has the entry point."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *filter(None, sys.path)]))
    return ("-p", "llmbench.harness.pytest_plugin")


def test_every_call_has_a_run_of_its_own(
    pytester: pytest.Pytester, plugin: tuple[str, str]
) -> None:
    """Tests of one name took turns at rewriting one run, and one of them always failed. Of options
    a file gives back texts and lists, whatever was put in."""
    for name, engine in (("test_a", "vllm-v1"), ("test_b", "paged")):
        pytester.makepyfile(**{name: SAME.replace("ENGINE", engine)})
    (pytester.path / "chat.yaml").write_text(WORKLOAD)
    for options in (["--llmbench-update"], []):
        done = pytester.runpytest_subprocess(*plugin, *options, timeout=300)
        done.assert_outcomes(passed=2)
    text = (pytester.path / "llmbench-gate.yaml").read_text()
    assert "  test_a.py/test_chat:\n" in text
    assert "      workload: chat.yaml\n" in text

    pytester.makepyfile(test_c=TWICE)
    done = pytester.runpytest_subprocess(*plugin, "--llmbench-update", "test_c.py", timeout=300)
    done.assert_outcomes(failed=1)
    done.stdout.fnmatch_lines(
        ["*test_c.py/test_twice: already a run of test_c.py::test_twice; give this one a name="]
    )


def test_one_name_in_two_processes_is_found(
    pytester: pytest.Pytester, plugin: tuple[str, str]
) -> None:
    """Each rewrote the other's run, and was then told to rewrite it once more."""
    pytest.importorskip("xdist")
    for name, engine in (("test_a", "vllm-v1"), ("test_b", "paged")):
        call = f'llmbench_gate(num_requests=4, name="same", engine="{engine}")'
        pytester.makepyfile(**{name: f"def {name}(llmbench_gate):\n    {call}\n"})
    xdist = ("-p", "xdist", "-n", "2", "--dist", "loadfile")
    done = pytester.runpytest_subprocess(*plugin, *xdist, "--llmbench-update", timeout=300)
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["*same: already a run of test_*; give this one a name="])


def test_update_pass_and_fail(pytester: pytest.Pytester, plugin: tuple[str, str]) -> None:
    pytester.makeini("[pytest]\nllmbench_baseline = gates/base.yaml\n")
    pytester.mkdir("gates")
    pytester.makeconftest(CONFTEST)
    example = pytester.makepyfile(EXAMPLE.replace("SEATS", "4"))

    first = pytester.runpytest_subprocess(*plugin, "--llmbench-update", timeout=60)
    first.assert_outcomes(passed=4)
    baseline = pytester.path / "gates" / "base.yaml"
    worse_name = "  test_update_pass_and_fail.py/test_worse:\n"
    head, worse = baseline.read_text().split(worse_name)
    steps = next(line for line in worse.splitlines() if "counters.steps" in line)
    worse = worse.replace(steps, "      counters.steps: 1")
    baseline.write_text(head + worse_name + worse)
    example.write_text(EXAMPLE.replace("SEATS", "3") + MISSING + AB)

    second = pytester.runpytest_subprocess(*plugin, timeout=60)
    second.assert_outcomes(passed=3, failed=4)
    second.stdout.fnmatch_lines_random(
        [
            "*regressed*test_worse: counters.steps: 1 -> *",
            "*named: the baseline was made with other options*",
            "*test_missing: not in base.yaml; pytest --llmbench-update makes it*",
            "*regressed*tpot.mean=5%: *",
        ]
    )


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    """It is loaded in every pytest of the environment, whatever is tested there."""
    code = (
        "import sys, pytest; before = set(sys.modules)\n"
        "import llmbench.harness.pytest_plugin\n"
        "print(sorted(n for n in set(sys.modules) - before if not n.startswith('llmbench')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_the_entry_point_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"llmbench": "llmbench.harness.pytest_plugin"}
