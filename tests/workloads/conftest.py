"""Fixtures of the workloads' tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

AZURE_HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens"


@pytest.fixture
def azure_csv(tmp_path: Path) -> Callable[..., Path]:
    """Writes a trace with the Azure header and these rows."""

    def write(*rows: str, header: str = AZURE_HEADER) -> Path:
        path = tmp_path / "x.csv"
        path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
        return path

    return write
