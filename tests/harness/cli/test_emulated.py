"""A method that the device computes in another arithmetic is never shown as if it were native."""

from __future__ import annotations

from pathlib import Path

import pytest
from llmbench.harness.cli import main
from llmbench.harness.storage.store import load_run

SHORT = ("--num-requests", "2", "--max-output-len", "4", "--threads", "1", "--quality-tokens", "0")


@pytest.mark.parametrize(
    ("quant", "options", "emulated"),
    [
        ("fp8", (), {"fp8_linear"}),
        ("mxfp4", (), {"fp4_linear"}),
        ("w8a8", (), set()),
        ("rtn", (), set()),
        # The kernels that multiply 4-bit codes and bytes are for bfloat16.
        ("rtn+a8", ("--dtype", "float32"), {"w4a8_linear"}),
        ("w8a8", ("--kernel", "w8a8_linear=reference"), {"w8a8_linear"}),
    ],
)
def test_the_result_and_each_report_say_it(
    quant: str,
    options: tuple[str, ...],
    emulated: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = ("--out", str(tmp_path / "run"))
    with pytest.raises(SystemExit):
        main(["run", "--device", "cpu", "--quant", quant, *options, *SHORT, *out])
    assert set(load_run(tmp_path / "run").result.emulated) == emulated
    said = (
        capsys.readouterr().out,
        (tmp_path / "run" / "report.md").read_text(),
        (tmp_path / "run" / "report.html").read_text(),
    )
    for text in said:
        assert ("no faster arithmetic" in text) == bool(emulated)
    assert (f"{quant} (emulated)" in said[1]) == bool(emulated)
