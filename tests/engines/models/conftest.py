"""One saved tiny model a case, made once for all tests here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from .tiny import CASES, build


@dataclass(frozen=True)
class Saved:
    """A tiny model: transformers' own, and the directory it was saved to."""

    case: str
    reference: Any  # a PreTrainedModel; its modules and `generate` are untyped
    directory: Path


@pytest.fixture(scope="session", params=sorted(CASES))
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """Each case in turn."""
    return _save(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="session")
def saved_llama(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    """The plain Llama; tests that spoil files copy its directory first."""
    return _save("llama", tmp_path_factory.mktemp("plain"))


def _save(case: str, directory: Path) -> Saved:
    reference = build(case)
    reference.save_pretrained(directory)
    return Saved(case, reference, directory)
