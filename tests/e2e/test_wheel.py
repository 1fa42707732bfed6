"""A wheel built from the tree runs outside it, package data included."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, unpacked as pip would."""
    where = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", where, ROOT],
        check=True,
        capture_output=True,
        timeout=300,
    )
    (wheel,) = where.glob("llmbench-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(where / "site")
    return where / "site"


def test_it_carries_all_its_data_and_nothing_else(site: Path) -> None:
    files = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    assert {
        "llmbench/engines/models/bundled/model.safetensors",
        "llmbench/engines/models/bundled/calibration.txt",
        "llmbench/reports/html/report.html.j2",
        "llmbench/workloads/builtins.yaml",
        "llmbench/kernels/native/kernels.cpp",
    } <= files
    assert not [name for name in files if "tests" in Path(name).parts]
    assert {Path(name).parts[0].split("-")[0] for name in files} == {"llmbench"}


def test_the_main_job_runs_from_it(site: Path, tmp_path: Path) -> None:
    """With a method that is not calibrated: the model lies elsewhere, so AWQ would be made anew,
    in half a minute. That the model's texts are found beside it, the quality shows."""
    script = (
        "import sys; sys.path.insert(0, sys.argv.pop(1)); import llmbench.harness.cli as cli; "
        "assert cli.__file__.startswith(sys.path[0]), cli.__file__; cli.main()"
    )
    arguments = ["run", "--engine", "paged", "--quant", "rtn", "--num-requests", "4"]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            script,
            str(site),
            *arguments,
            "--quality-tokens",
            "64",
            "--out",
            "r",
        ],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "r" / "result.json").read_text())
    assert result["validity"]["valid"]
    assert result["quality"]["perplexity_tokens"] > 0
    assert (tmp_path / "r" / "report.html").stat().st_size > 100_000
