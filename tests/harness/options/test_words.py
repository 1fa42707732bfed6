"""Options as data: the words that a command line would have."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.engines.errors import ConfigError
from llmbench.harness.options.words import run_settings, words_of, words_of_mapping


def test_a_file_of_options_that_is_not_there_is_not_called_forbidden(tmp_path: Path) -> None:
    path = tmp_path / "nope.yaml"
    with pytest.raises(ConfigError, match=rf"^a: '{path}' cannot be read: no such file or direc"):
        words_of("a", str(path))
    path.write_bytes(b"engine: \xff\xfe")
    with pytest.raises(ConfigError, match=r"nope\.yaml' is not UTF-8 text; expected options in"):
        words_of("a", str(path))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "engine: paged\nengine: static\n",
            "has engine twice, at line 1 and at line 2; expected o",
        ),
        ("[" * 2000, "is not valid YAML: it is nested too deeply; expected options"),
        ("engine: {", "is not valid YAML at line 1: "),
    ],
)
def test_a_file_of_options_that_says_too_much(tmp_path: Path, text: str, said: str) -> None:
    """Known wrong here: the first engine was lost in silence."""
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        words_of("a", str(path))
    assert str(caught.value).startswith(f"a: '{path}' {said}")


def test_what_only_looks_like_a_date_or_a_number_stays_as_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("engine: 2026-13-01\nmodel: 7e3\nnum-requests: 010\n")
    assert words_of("a", str(path)) == ["--engine=2026-13-01", "--model=7e3", "--num-requests=010"]


def test_options_as_data() -> None:
    assert words_of("a", "--engine 'my engine'") == ["--engine", "my engine"]
    assert words_of_mapping("a", {"cuda_graphs": False, "seed": None}) == ["--no-cuda-graphs"]
    with pytest.raises(ConfigError, match="quoted options"):
        words_of("a", "--engine 'paged")
    with pytest.raises(ConfigError, match="a text, a number, true, false or a list"):
        words_of_mapping("a", {"engine": {"name": "paged"}})


@pytest.mark.parametrize(
    ("said", "words"),
    [(True, ["--verify-kernels"]), (False, []), (None, [])],
)
def test_a_flag_that_has_no_negative_is_left_out_where_it_is_false(
    *, said: bool | None, words: list[str]
) -> None:
    found = words_of_mapping("a", {"verify-kernels": said, "engine": "static"})
    assert found == [*words, "--engine=static"]
    assert run_settings(found, "a").verify_kernels is bool(said)
    # Another's name stays, for the command to refuse.
    assert words_of_mapping("a", {"verfy-kernels": False}) == ["--no-verfy-kernels"]


@pytest.mark.parametrize("name", ["num-requests", "num_requests", "tensor-parallel"])
def test_a_list_where_an_option_has_one_value_is_refused(name: str) -> None:
    """Known wrong here: the last was taken, and nothing said of the others."""
    with pytest.raises(ConfigError, match=rf"^options: '{name}: \[1, 2\]' is not .* one value"):
        words_of_mapping("options", {name: [1, 2]})


def test_a_list_is_an_option_that_is_given_more_than_once() -> None:
    kernels = ["linear=pytorch", "rope=pytorch"]
    found = words_of_mapping("options", {"kernel": kernels})
    assert found == ["--kernel=linear=pytorch", "--kernel=rope=pytorch"]
    assert run_settings(found, "options").engine.force_kernels == tuple(kernels)
