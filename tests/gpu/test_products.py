"""What is timed on a GPU is right: small, in Triton's interpreter; no time is looked at."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from .products import GROUP, KINDS, ROWS, SHAPES, Cut, asked, table

PROGRAM = """
import json
from dataclasses import replace
from tests.gpu import products

products.DEVICE, products.BEYOND_L2_BYTES = "cpu", 1
products.SHAPES = {"o": (128, 256)}
found = {}
for one in products.asked():
    if one.rows == 16 and one.kind not in found:
        launch, copies, out, expected = products.MADE[one.kind](one)
        out.fill_(float("nan"))
        for copy in range(copies):
            launch(copy)
        found[one.kind] = float((out.float() - expected).norm() / expected.norm())
print(json.dumps(found))
"""


def test_every_kind_computes_what_float32_does() -> None:
    pytest.importorskip("triton")
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    # e4m3's sums are the interpreter's own.
    assert found.keys() == set(KINDS)
    assert all(error < 0.01 for error in found.values()), found


def test_the_best_cut_of_each_product_is_added_up() -> None:
    rows = [
        {"shape": shape, "rows": 1, "kind": "int4", "us": us}
        for shape in SHAPES
        for us in (5.0, 3.0)
    ]
    first, *_ = table(rows).splitlines()[1:]
    assert first.split() == ["1", "nan", "12.0", "nan", "nan", "nan"]


def test_each_kind_is_asked_for_at_each_size() -> None:
    seen = {(one.shape, one.rows, one.kind) for one in asked()}
    assert len(seen) == len(SHAPES) * len(ROWS) * len(KINDS)


def test_what_is_built_for_few_rows_is_asked_for_beside_what_was() -> None:
    from llmbench.kernels.triton.tiles import integer_tiles

    cuts = {one.cut for one in asked() if (one.shape, one.rows, one.kind) == ("down", 1, "int4")}
    built = integer_tiles(1, GROUP)
    assert Cut(16, built.block_n, built.block_k, built.warps, built.stages, 16) in cuts
    assert Cut(16, 128, 128, warps=8, stages=3, splits=8) in cuts
