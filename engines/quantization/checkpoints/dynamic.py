"""`dynamic`, by which GPTQModel gives modules settings of their own, in GPTQ's and AWQ's configs.

Source: github.com/ModelCloud/GPTQModel, `quantization/config.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from .fields import Fields

L = TypeVar("L")


def read_rules(data: Fields, own_layout: Callable[[Fields], L]) -> list[tuple[str, L | None]]:
    """Each pattern and the layout of the modules whose names it begins; None: `-:`, not quantised.

    own_layout: of a rule's own settings. Raises ModelError for a pattern that is none.
    """
    dynamic = data.inner_or_none("dynamic")
    if dynamic is None:
        return []
    rules: list[tuple[str, L | None]] = []
    for name in dynamic.names:
        pattern = name.removeprefix("-:").removeprefix("+:")
        dynamic.pattern(pattern)
        rules.append((pattern, None if name.startswith("-:") else own_layout(dynamic.inner(name))))
    return rules


def ruled(rules: Sequence[tuple[str, L | None]], module: str, otherwise: L | None) -> L | None:
    """The layout of a module: by the first rule that matches its name."""
    return next((found for pattern, found in rules if re.match(pattern, module)), otherwise)
