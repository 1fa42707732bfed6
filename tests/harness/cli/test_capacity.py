"""Where the runs at capacity of several engines are stored, and what is said of it."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest
from llmbench.harness.cells import runner
from llmbench.harness.cli import main
from llmbench.harness.errors import PlaceTaken

OUT = "runs [of two]"
ASKED = "capacity --compare paged,trtllm --slo ttft:9s --num-requests 2 --quiet --out"


def test_every_place_that_was_taken_meanwhile_is_named_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Known wrong of all but the last: "runs \\\\[of two]"."""

    def taken(directory: Path, *_: object) -> NoReturn:
        raise PlaceTaken(directory, directory.with_name("kept"))

    monkeypatch.setattr(runner, "store_measured", taken)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main([*ASKED.split(), OUT])
    said = "".join(capsys.readouterr().err.split("\n"))
    assert "\\" not in said
    assert f"{OUT}/paged" in said
    assert f"{OUT}/trtllm" in said
