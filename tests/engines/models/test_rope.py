"""The rotary table against transformers' own frequencies and a hand-worked scaling."""

from __future__ import annotations

import math

import torch
from llmbench.engines.models.config import parse_config
from llmbench.engines.models.rope import RotaryTable, inverse_frequencies

from .conftest import Saved
from .tiny import CASES, CPU, config_of


def test_table_is_that_of_transformers(saved: Saved) -> None:
    config = config_of(saved.directory)
    positions = torch.arange(100)
    theirs = saved.reference.model.rotary_emb(torch.zeros(1), positions[None])
    cos, sin = RotaryTable(config, torch.float32, CPU).rows(positions)
    half = config.head_dim // 2  # transformers holds every angle twice
    torch.testing.assert_close(cos, theirs[0][0, :, :half], atol=1e-6, rtol=0)
    torch.testing.assert_close(sin, theirs[1][0, :, :half], atol=1e-6, rtol=0)


def test_llama3_scaling_keeps_short_wavelengths_and_divides_long_ones() -> None:
    config = parse_config(CASES["llama3-rope"]().to_dict())
    plain = [10000.0 ** (-i / 8) for i in range(8)]
    ratios = [
        scaled / frequency
        for scaled, frequency in zip(inverse_frequencies(config).tolist(), plain, strict=True)
    ]
    wavelengths = [2 * math.pi / frequency for frequency in plain]
    for ratio, wavelength in zip(ratios, wavelengths, strict=True):
        if wavelength < 32 / 4:
            assert math.isclose(ratio, 1, rel_tol=1e-5)
        elif wavelength > 32:
            assert math.isclose(ratio, 1 / 8, rel_tol=1e-5)
        else:
            assert 1 / 8 < ratio < 1
    assert min(wavelengths) < 8 < sorted(wavelengths)[1] < 32 < max(wavelengths)


def test_table_can_be_shorter_than_the_model(saved_llama: Saved) -> None:
    table = RotaryTable(config_of(saved_llama.directory), torch.bfloat16, CPU, max_positions=10)
    assert table.cos.shape == (10, 6)
    assert table.cos.dtype == torch.bfloat16
