"""`llmbench doctor` says of the processor what runs will do on it."""

from __future__ import annotations

import pytest
from llmbench.engines import device as devices
from llmbench.harness.cli.doctor import Finding, Level, _cpu
from llmbench.harness.machine import environment
from llmbench.kernels import bfloat16

EPYC_7003 = ["avx2", "fma", "f16c"]


@pytest.mark.parametrize(
    ("isa", "usable", "said"),
    [
        ([*EPYC_7003, "avx512_bf16"], True, ("ok", "computes bfloat16")),
        (
            EPYC_7003,
            True,
            (
                "note",
                "no bfloat16 arithmetic, models run in bfloat16, widened for each product",
            ),
        ),
        (EPYC_7003, False, ("note", "no bfloat16 arithmetic, models run in float32")),
    ],
)
def test_the_processor_s_line_names_the_dtype_that_auto_comes_to(
    isa: list[str], usable: bool, said: tuple[Level, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It said float32 where native kernels had made bfloat16 the faster."""
    found = {"model": "AMD EPYC 7763", "logical_cores": 2, "isa": isa}
    monkeypatch.setattr(environment, "cpu", lambda: found)
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: False)
    monkeypatch.setattr(bfloat16, "find_library", lambda _: object() if usable else None)
    level, text = said
    assert _cpu() == Finding("cpu", level, f"AMD EPYC 7763, 2 logical cores; {text}")
