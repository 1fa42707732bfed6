"""From texts to calibration windows: token ids, equally many in each."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError
from ..models.tokenizer import Tokenizer

# Between documents, as in the raw text of WikiText.
_BETWEEN = "\n\n"


@dataclass(frozen=True)
class CalibrationSize:
    """Windows and tokens in each, at most. at_least: windows that there must be."""

    samples: int
    length: int
    at_least: int = 1


# GPTQ (2023), section 4: 128 windows of 2048 tokens. AWQ's searches go through a block some 60
# times, so they get the 4096 tokens that are enough for them. The others look for maxima.
DEFAULT_SIZES = {
    "gptq": CalibrationSize(128, 2048),
    "awq": CalibrationSize(8, 512),
    "smoothquant": CalibrationSize(64, 512),
    "fp8-static": CalibrationSize(64, 512),
}


def calibration_windows(
    texts: Iterable[str], tokenizer: Tokenizer, size: CalibrationSize, *, name: str = "text"
) -> Tensor:
    """int64 [samples, length], from the front of the texts, which follow each other with a blank
    line between; no more of them is read than is needed.

    name: of the texts, for the error. Raises ConfigError for fewer windows than `size` asks for.
    """
    wanted = size.samples * size.length
    ids: list[int] = []
    for text in texts:
        between = _BETWEEN if ids else ""
        ids += tokenizer.encode(between + text, add_special_tokens=False)
        if len(ids) >= wanted:
            break
    samples = min(size.samples, len(ids) // size.length)
    if samples < size.at_least:
        needed = size.at_least * size.length
        windows = "one window" if size.at_least == 1 else f"{size.at_least} windows"
        allowed = (
            f"at least {needed} tokens, {windows} of {size.length}; it has {len(ids)} "
            "(fewer --samples or a shorter --sequence-length need less)"
        )
        raise ConfigError("calibration", name, allowed)
    return torch.tensor(ids[: samples * size.length]).view(samples, size.length)
