"""A method that the device computes in another arithmetic is never shown as if it were native."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.harness.cli import main
from llmbench.harness.storage.store import load_run

SHORT = ("--num-requests", "2", "--max-output-len", "4", "--threads", "1", "--quality-tokens", "0")


@pytest.mark.parametrize(
    ("quant", "emulated"),
    [("fp8", {"fp8_linear"}), ("mxfp4", {"fp4_linear"}), ("w8a8", set()), ("rtn", set())],
)
def test_the_result_and_each_report_say_it(
    quant: str, emulated: set[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["run", "--device", "cpu", "--quant", quant, *SHORT, "--out", str(tmp_path / "run")])
    assert set(load_run(tmp_path / "run").result.emulated) == emulated
    said = (
        capsys.readouterr().out,
        (tmp_path / "run" / "report.md").read_text(),
        (tmp_path / "run" / "report.html").read_text(),
    )
    for text in said:
        assert ("widened for each product" in text) == bool(emulated)
    assert (f"{quant} (emulated)" in said[1]) == bool(emulated)
