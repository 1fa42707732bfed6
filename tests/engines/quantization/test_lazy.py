"""What is lazy makes what is asked for, and nothing to say what there is."""

from __future__ import annotations

import pytest
import torch
from llmbench.engines.quantization.finite import Finite
from llmbench.engines.quantization.lazy import Lazy


class Made(Lazy[str]):
    def __init__(self) -> None:
        super().__init__(("b", "a", "b"))
        self.made: list[str] = []

    def make(self, name: str) -> str:
        self.made.append(name)
        return name.upper()


def test_only_what_is_asked_for_is_made() -> None:
    values = Made()
    assert list(values) == ["b", "a"]
    assert len(values) == 2
    assert "a" in values
    assert "c" not in values
    assert values.made == []
    assert values["a"] == "A"
    assert values.get("c") is None
    with pytest.raises(KeyError):
        values["c"]
    assert values.made == ["a"]


def test_to_know_whether_there_is_a_weight_checks_none() -> None:
    weights = Finite({"a": torch.tensor([float("nan")])})
    assert "a" in weights
    assert "b" not in weights
