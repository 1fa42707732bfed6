"""Benchmarks: `make bench`. Ratios measured side by side in one run; no test asserts a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from llmbench.engines.models.catalogue import ModelFiles, resolve_model


@pytest.fixture(scope="session")
def files() -> ModelFiles:
    """SmolLM2-135M, fetched on first use; LLMBENCH_BENCH_MODEL names another."""
    return resolve_model(os.environ.get("LLMBENCH_BENCH_MODEL", "smollm2-135m"))


@pytest.fixture(scope="session")
def prompt_text() -> str:
    from llmbench.engines.models.bundled import heldout_text

    return heldout_text()


@pytest.fixture(scope="session")
def source_tree() -> Path:
    return Path(__file__).resolve().parents[2]
