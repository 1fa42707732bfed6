"""Our own rows say what their code was, as the peers' say their packages."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

import llmbench.engines
import torch
from llmbench.engines.models.catalogue import resolve_model
from llmbench.harness.peers.base import ServedModel, Variant
from llmbench.harness.peers.own import Own
from llmbench.kernels.native.register import digests
from llmbench.kernels.sources import sources_digest


def test_a_row_says_which_package_and_which_kernels_computed(tmp_path: Path) -> None:
    """Known wrong here: torch's version alone, and the kernels' alone, so that rounds of other code
    stood in one row."""
    files = resolve_model("bundled")
    own = Own(tuple(sorted(os.sched_getaffinity(0)))[:1])
    variant = Variant("llmbench paged", "bf16", "bfloat16")
    model = ServedModel.of(files, tmp_path)
    with own.serve(variant, model, tmp_path / "log") as serving:
        started = serving.started
    named = {word.rstrip(",") for word in started.settings.split()}
    kernels = digests(named)
    package = Path(llmbench.engines.__file__ or "").parents[1]
    assert started.versions == {
        "llmbench": version("llmbench"),
        "engines": sources_digest(package / "engines"),
        "kernels": sources_digest(package / "kernels"),
        "torch": torch.__version__,
        **kernels,
    }
    assert set(kernels) == {one for one in named if one.startswith("native-")}
