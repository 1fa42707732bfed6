"""How threads wait, as the OpenMP runtime itself says that it was told."""

import os
import re
import subprocess
import sys

import pytest
from llmbench.kernels.threads import VARIABLES

RUNTIME_SAYS = "OMP_DISPLAY_ENV"


def spins(script: str, **more: str) -> str | None:
    """What GNU's runtime read when `script` had it loaded; None if it is another's runtime."""
    found = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**found, RUNTIME_SAYS: "verbose", **more},
        capture_output=True,
        text=True,
        check=True,
    )
    said = re.search(r"GOMP_SPINCOUNT = '([^']*)'", done.stderr)
    return said and said[1]


@pytest.fixture(scope="module", autouse=True)
def gnu_runtime() -> None:
    if spins("import torch") is None:
        pytest.skip("PyTorch's OpenMP runtime is not GNU's")


@pytest.mark.parametrize(
    "module", ["kernels.registry", "engines.llm", "harness.quality.measure", "harness.cli"]
)
def test_every_package_that_needs_pytorch_is_in_time(module: str) -> None:
    assert spins(f"import llmbench.{module}, torch") == "1000"


def test_who_says_how_threads_wait_is_heeded() -> None:
    script = "import llmbench.kernels.registry"
    assert spins(script, GOMP_SPINCOUNT="77") == "77"
    assert spins(script, OMP_WAIT_POLICY="active") == spins(
        "import torch", OMP_WAIT_POLICY="active"
    )


def test_a_runtime_that_is_loaded_already_is_not_said_to_wait_briefly() -> None:
    script = "import torch, os; before = dict(os.environ)\nimport llmbench.kernels\n"
    assert spins(f"{script}assert dict(os.environ) == before") == spins("import torch")


def test_programs_that_are_not_ours_wait_as_they_do() -> None:
    ours = "import llmbench.engines\nfrom llmbench.kernels.threads import outside_environment\n"
    theirs = "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import torch'],"
    outside = spins(f"{ours}{theirs} env=outside_environment(), check=True)")
    assert outside == spins("import torch")
    # It is the environment that does it.
    assert spins(f"{ours}{theirs} check=True)") == "1000"
