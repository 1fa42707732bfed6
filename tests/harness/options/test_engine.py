"""What the engine's options refuse, as typed: one line, before anything is read or run."""

from __future__ import annotations

import pytest
from llmbench.harness.cli import main


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (
            ("simulate", "--mixing", "sarathi"),
            "mixing: 'sarathi' is not allowed; expected unset with separate batching",
        ),
        (("simulate", "--quant", "int8", "--group-size", "64"), "unset with int8, without groups"),
        (("simulate", "--group-size", "64"), "group_size: 64 is not allowed; expected unset"),
        (("run", "--quant", "none", "--group-size", "64"), "group_size: 64 is not allowed"),
        # The checkpoint would say what auto is, and it is not quantised.
        (
            ("run", "--group-size", "64", "--quiet", "--out", "unused"),
            "group_size: 64 is not allowed; expected unset: the checkpoint is not quantised",
        ),
        (
            ("run", "--engine", "paged,inflight"),
            "expected a preset; for several: 'llmbench sweep --vary engine=paged,inflight -- ",
        ),
        (
            ("simulate", "--quant", "none,awq"),
            "expected a method; for several: 'llmbench sweep --vary quant=none,awq -- ",
        ),
        (
            ("run", "--model", "llama-3-8b"),
            "model: 'llama-3-8b' is known as a shape only, without weights: simulate it, or run "
            "it with --load-format dummy",
        ),
        (("models", "pull", "qwen3-8b"), "model: 'qwen3-8b' is known as a shape only"),
    ],
)
def test_what_would_be_ignored_or_is_a_list_is_refused(
    command: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(list(command))
    err = capsys.readouterr().err
    assert left.value.code == 2
    assert said in err
    assert len(err.splitlines()) == 1
