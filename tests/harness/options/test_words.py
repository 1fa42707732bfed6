"""Options as data: the words that a command line would have."""

from __future__ import annotations

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.options.words import words_of, words_of_mapping


def test_options_as_data() -> None:
    assert words_of("a", "--engine 'my engine'") == ["--engine", "my engine"]
    assert words_of_mapping("a", {"cuda_graphs": False, "seed": None}) == ["--no-cuda-graphs"]
    with pytest.raises(ConfigError, match="quoted options"):
        words_of("a", "--engine 'paged")
    with pytest.raises(ConfigError, match="a text, a number, true, false or a list"):
        words_of_mapping("a", {"engine": {"name": "paged"}})
