"""How many threads there are and how they wait, as the OpenMP runtime itself says it was told."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from llmbench.kernels.threads import COUNT, POLICY, SPINS


def gnu_runtime() -> Path | None:
    """That of PyTorch, which loads in a hundredth of its time."""
    spec = find_spec("torch")
    assert spec is not None
    assert spec.origin is not None
    packages = Path(spec.origin).parents[1]
    found = [*packages.glob("torch/lib/libgomp*"), *packages.glob("torch.libs/libgomp*")]
    return found[0] if found else None


RUNTIME = gnu_runtime()
pytestmark = pytest.mark.skipif(RUNTIME is None, reason="PyTorch's OpenMP runtime is not GNU's")
LOAD = f"import ctypes; ctypes.CDLL({str(RUNTIME)!r})\n"


def said(variable: str, script: str, **more: str) -> str | None:
    """What the runtime read when `script` had it loaded; None if it was not."""
    ours = (COUNT, POLICY, SPINS)
    found = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**found, "OMP_DISPLAY_ENV": "verbose", **more},
        capture_output=True,
        text=True,
        check=True,
    )
    read = re.search(rf"{variable} = '([^']*)'", done.stderr)
    return read and read[1]


@pytest.mark.parametrize("package", ["kernels", "engines", "harness"])
def test_each_package_that_needs_pytorch_is_in_time(package: str) -> None:
    script = f"import sys, llmbench.{package}\nassert 'torch' not in sys.modules\n{LOAD}"
    assert said(SPINS, script) == "1000"


def test_it_is_the_runtime_that_pytorch_loads() -> None:
    assert said(SPINS, "import llmbench.harness.quality.measure") == "1000"


def test_who_says_how_threads_wait_is_heeded() -> None:
    script = f"import llmbench.kernels\n{LOAD}"
    assert said(SPINS, script, GOMP_SPINCOUNT="77") == "77"
    alone = said(SPINS, LOAD, OMP_WAIT_POLICY="active")
    assert said(SPINS, script, OMP_WAIT_POLICY="active") == alone


def test_a_runtime_that_is_loaded_already_is_not_said_to_wait_briefly() -> None:
    script = "import torch, os; before = dict(os.environ)\nimport llmbench.kernels\n"
    assert said(SPINS, f"{script}assert dict(os.environ) == before") == said(SPINS, LOAD)


def test_programs_that_are_not_ours_wait_as_they_do() -> None:
    ours = "import llmbench.engines\nfrom llmbench.kernels.threads import outside_environment\n"
    theirs = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {LOAD!r}],"
    outside = said(SPINS, f"{ours}{theirs} env=outside_environment(), check=True)")
    assert outside == said(SPINS, LOAD)
    # It is the environment that does it.
    assert said(SPINS, f"{ours}{theirs} check=True)") == "1000"


def arranged(cgroup: Path) -> str:
    """A script of a machine with 64 processors and this control group, whatever this one has."""
    return (
        "import os, pathlib, llmbench.kernels.threads as threads\n"
        "os.sched_getaffinity = lambda _: range(64)\n"
        f"if {COUNT!r} in threads._arranged: del os.environ[{COUNT!r}]\n"
        f"threads.arrange_threads(pathlib.Path({str(cgroup)!r}))\n{LOAD}"
    )


@pytest.mark.parametrize(
    ("quota", "threads"),
    [("250000", "2"), ("150000", "1"), ("50000", "1"), ("6400000", None), ("max", None)],
)
def test_as_many_threads_as_a_quota_has_whole_processors(
    quota: str, threads: str | None, tmp_path: Path
) -> None:
    (tmp_path / "cpu.max").write_text(f"{quota} 100000")
    assert said(COUNT, arranged(tmp_path)) == (threads or said(COUNT, LOAD))
    assert said(COUNT, arranged(tmp_path), OMP_NUM_THREADS="5") == "5"
