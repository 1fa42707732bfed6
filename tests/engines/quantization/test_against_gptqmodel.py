"""GPTQ beside the library that is in use for it, with the same settings and calibration. What it
lost when it was last measured is held against ours in every run: `test_quality.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from .gptqmodel_loss import SCHEMES, Loss, measured_loss, stored_loss
from .judge import Judge
from .test_quality import judge

__all__ = ["judge"]

pytestmark = pytest.mark.reference("gptqmodel")


@pytest.mark.parametrize("name", SCHEMES)
def test_gptq_is_as_near_as_gptqmodels(name: str, judge: Judge, tmp_path: Path) -> None:
    scheme = SCHEMES[name]
    theirs, ours = measured_loss(judge, scheme, tmp_path), Loss(*judge.quantized(scheme))
    stored = stored_loss(scheme)
    print(f"{name}: {ours} beside {theirs}, stored {stored}")
    assert ours.perplexity == pytest.approx(theirs.perplexity, rel=0.02)
    assert ours.kl < 1.15 * theirs.kl
    # Codes near the middle between two fall either way with the order of a sum.
    assert stored.perplexity == pytest.approx(theirs.perplexity, rel=0.005)
    assert stored.kl == pytest.approx(theirs.kl, rel=0.1)
