"""What is stored in library_maps/ is what the libraries make today, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from .library_maps.make import MAKERS
from .library_maps.stored import LIBRARIES, load, same_bits


@pytest.mark.parametrize(
    "library", [pytest.param(name, marks=pytest.mark.reference(name)) for name in LIBRARIES]
)
def test_the_library_makes_the_same_maps(library: str) -> None:
    stored, made = load(library), MAKERS[library]()
    assert stored.keys() == made.keys()
    for name, now in made.items():
        before = stored[name]
        assert stated(before.settings) == stated(now.settings), name
        assert before.parts.keys() == now.parts.keys(), name
        for part, tensor in now.parts.items():
            assert same_bits(before.parts[part], tensor), f"{name}: {part}"
        assert (before.weight is None) == (now.weight is None)
        if before.weight is not None and now.weight is not None:
            assert same_bits(before.weight, now.weight.contiguous()), name


def stated(settings: Mapping[str, Any]) -> dict[str, Any]:
    """As JSON has them, but for the version of the library."""
    told = json.loads(json.dumps(settings))
    return {name: value for name, value in told.items() if name != "autoround_version"}
