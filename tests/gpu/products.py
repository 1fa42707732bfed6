"""How a GPU's products of packed weights should be cut: tiles and splits, timed at Llama-3-8B's
sizes. `kernels/triton/tiles.py` has what came of it.

    python -m tests.gpu.products --out products.json      some 40 seconds of a GPU with 16 cores

Each of `--jobs` processes compiles its share and waits for its turn on the device, so that nothing
runs beside what is timed. Weights lie in copies that are larger than the L2 cache together, and a
graph of launches is replayed; the sum of split parts is in the time. Every result is compared with
float32's.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from llmbench.kernels.triton.tiles import FEW_ROWS, MOST_SPLITS
from torch import Tensor

# Outputs and inputs of a layer's four linear maps.
SHAPES = {"qkv": (6144, 4096), "o": (4096, 4096), "gate_up": (28672, 4096), "down": (4096, 14336)}
ROWS = (1, 16, 32, 64, 128, 256)
KINDS = ("bf16", "int4", "widened", "e4m3", "int8")
DEVICE = "cuda"
GROUP = 128
# Outputs and inputs of a program, its warps and stages.
FEW_ROW_WAY = (128, 128, 4, 4)  # with more rows, too many registers
INT4_WAYS = ((128, 128, 8, 3), (128, 128, 8, 4), (64, 128, 4, 4), FEW_ROW_WAY)
CODES_WAYS = ((64, 128, 4, 4), (64, 256, 4, 3), (128, 128, 8, 3), (128, 128, 8, 4))
SPLITS = (1, 2, 4, 8, 16)
MOST_PROGRAMS = 512
BEYOND_L2_BYTES = 150_000_000
TURNS = 7


@dataclass(frozen=True)
class Cut:
    """block_m rows x block_n outputs a program, block_k inputs at a time. splits: of the inputs."""

    block_m: int
    block_n: int
    block_k: int
    warps: int
    stages: int
    splits: int


@dataclass(frozen=True)
class Asked:
    """kind: one of KINDS; bf16 is cuBLAS's own product, widened what it makes of 4-bit weights."""

    shape: str
    rows: int
    kind: str
    cut: Cut | None = None


def asked() -> Iterator[Asked]:
    for shape, rows, kind in product(SHAPES, ROWS, KINDS):
        if kind in ("bf16", "widened"):
            yield Asked(shape, rows, kind)
            continue
        ways = INT4_WAYS if kind == "int4" else CODES_WAYS
        block_m = min(64, max(16, rows))
        for way, splits in product(ways, SPLITS):
            small = way == FEW_ROW_WAY
            if (small and rows > FEW_ROWS) or (splits > MOST_SPLITS and not small):
                continue
            if splits == 1 or SHAPES[shape][0] // way[0] * splits <= MOST_PROGRAMS:
                yield Asked(shape, rows, kind, Cut(block_m, *way, splits))


def timed_s(launch: Callable[[int], None], copies: int, turn: Any) -> float:
    """Seconds of a launch: the median of replays of a graph that goes round the copies."""
    for copy in range(copies):
        launch(copy)
    torch.cuda.synchronize()
    rounds = max(2, 12 // copies)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(rounds):
            for copy in range(copies):
                launch(copy)
    fcntl.flock(turn, fcntl.LOCK_EX)
    try:
        graph.replay()
        torch.cuda.synchronize()
        found = []
        for _ in range(TURNS):
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            found.append(begin.elapsed_time(end) / 1e3 / (rounds * copies))
    finally:
        fcntl.flock(turn, fcntl.LOCK_UN)
    return statistics.median(found)


def copies_of(weight_bytes: int) -> int:
    return max(1, -(-BEYOND_L2_BYTES // weight_bytes))


def bf16(one: Asked) -> tuple[Callable[[int], None], int, Tensor, Tensor]:
    (n, k), rows = SHAPES[one.shape], one.rows
    copies = copies_of(2 * n * k)
    weights = torch.randn(copies, n, k, device=DEVICE, dtype=torch.bfloat16)
    x = torch.randn(rows, k, device=DEVICE, dtype=torch.bfloat16)
    out = torch.empty(rows, n, device=DEVICE, dtype=torch.bfloat16)

    def launch(copy: int) -> None:
        torch.mm(x, weights[copy].T, out=out)

    return launch, copies, out, x.float() @ weights[0].float().T


def int4(one: Asked) -> tuple[Callable[[int], None], int, Tensor, Tensor]:
    """Packed, or widened where there is no cut."""
    from llmbench.kernels.triton.nibbles import TILE_N, grids
    from llmbench.kernels.triton.nibbles_kernel import nibbles_kernel, widen_kernel
    from llmbench.kernels.triton.target import interpreted

    (n, k), rows = SHAPES[one.shape], one.rows
    copies, blocks = copies_of(n * k // 2), k // GROUP
    words = torch.randint(
        -(2**15), 2**15, (copies, n // TILE_N, blocks, TILE_N, GROUP // 4), device=DEVICE
    ).to(torch.int16)
    scales = (0.01 * torch.rand(copies, n, blocks, device=DEVICE)).bfloat16()
    zeros = torch.randint(0, 16, (copies, n, blocks), device=DEVICE).to(torch.uint8)
    packed = [grids(*pair) for pair in zip(scales, zeros, strict=True)]
    x = torch.randn(rows, k, device=DEVICE, dtype=torch.bfloat16)
    out = torch.empty(rows, n, device=DEVICE, dtype=torch.bfloat16)
    layout: dict[str, Any] = {
        "GROUP": GROUP,
        "PER_GROUP": 1,
        "BLOCKS": blocks,
        "PARTS": 4,
        "TILE_N": TILE_N,
        "SHARE": 0,
        "E8M0": False,
        "BLOCK_K": GROUP,
    }
    wide = torch.empty(k, n, device=DEVICE, dtype=torch.bfloat16)
    parts = parts_of(one.cut, out, torch.float32)

    def launch(copy: int) -> None:
        tensors = words[copy], packed[copy], None
        if one.cut is None:
            widen_kernel[(blocks, n // TILE_N)](*tensors, wide, n, **layout)
            torch.mm(x, wide, out=out)
            return
        cut = one.cut
        grid = (-(-rows // cut.block_m), n // cut.block_n, cut.splits)
        how: dict[str, Any] = {
            **layout,
            **launched(cut),
            "ASSEMBLY": not interpreted(),
            "WIDEN": interpreted(),
        }
        nibbles_kernel[grid](x, x.stride(0), *tensors, None, parts, rows, n, **how)
        add(parts, out, None, None)

    blocks_of = words[0].transpose(1, 2).reshape(n, blocks, -1)
    codes = torch.stack([(blocks_of >> (4 * part)) & 15 for part in range(4)], 2).reshape(n, k)
    zero, scale = (each[0].float().repeat_interleave(GROUP, 1) for each in (zeros, scales))
    return launch, copies, out, x.float() @ ((codes - zero) * scale).T


def codes(one: Asked) -> tuple[Callable[[int], None], int, Tensor, Tensor]:
    from llmbench.kernels.triton.codes_kernel import codes_kernel

    assert one.cut is not None
    (n, k), rows, cut = SHAPES[one.shape], one.rows, one.cut
    copies, whole = copies_of(n * k), one.kind == "int8"

    def drawn(*shape: int) -> Tensor:
        if whole:
            return torch.randint(-127, 128, shape, device=DEVICE, dtype=torch.int8)
        return torch.randn(shape, device=DEVICE).to(torch.float8_e4m3fn)

    weights = torch.stack([drawn(n, k) for _ in range(copies)])
    x = drawn(rows, k)
    x_scales, w_scales = (torch.rand(size, device=DEVICE) + 0.5 for size in (rows, n))
    out = torch.empty(rows, n, device=DEVICE, dtype=torch.bfloat16)
    parts = parts_of(cut, out, torch.int32 if whole else torch.float32)
    how: dict[str, Any] = {"K": k, "ROWS": 1, "COLUMNS": 0, "GROUPS": 1, "KIND": one.kind}
    how |= {**launched(cut), "BLOCK_K": cut.block_k}
    bytes_ = torch.int8 if whole else torch.uint8
    grid = (-(-rows // cut.block_m), n // cut.block_n, cut.splits)

    def launch(copy: int) -> None:
        tensors = x.view(bytes_), x_scales, weights[copy].view(bytes_), w_scales, None, parts
        codes_kernel[grid](*tensors, rows, n, **how)
        add(parts, out, x_scales, w_scales)

    expected = (x.float() @ weights[0].float().T) * x_scales[:, None] * w_scales
    return launch, copies, out, expected


def launched(cut: Cut) -> dict[str, Any]:
    return {
        "BLOCK_M": cut.block_m,
        "BLOCK_N": cut.block_n,
        "SPLITS": cut.splits,
        "num_warps": cut.warps,
        "num_stages": cut.stages,
    }


def parts_of(cut: Cut | None, out: Tensor, sums: torch.dtype) -> Tensor:
    from llmbench.kernels.triton import splits

    return splits.parts_of(out, 1 if cut is None else cut.splits, sums)


def add(parts: Tensor, out: Tensor, x_scales: Tensor | None, w_scales: Tensor | None) -> None:
    from llmbench.kernels.triton.splits import add_splits

    add_splits(parts, out, x_scales, w_scales, None)


MADE = {"bf16": bf16, "int4": int4, "widened": int4, "e4m3": codes, "int8": codes}


def measured(one: Asked, turn: Any) -> dict[str, Any]:
    launch, copies, out, expected = MADE[one.kind](one)
    out.fill_(float("nan"))
    launch(0)
    error = float((out.float() - expected).norm() / expected.norm())
    return {**asdict(one), "error": error, "us": 1e6 * timed_s(launch, copies, turn)}


def some(job: int, jobs: int, folder: Path, until: float) -> None:
    """One job's share, as far as time allows."""
    rows: list[dict[str, Any]] = []
    with (folder / "turn").open("w") as turn:
        for one in list(asked())[job::jobs]:
            if time.time() < until:
                rows.append(measured(one, turn))
                torch.cuda.empty_cache()
    (folder / f"{job}.json").write_text(json.dumps(rows), encoding="utf-8")


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The best of each kind: microseconds of a layer's four products."""
    lines = ["rows  " + "  ".join(f"{kind:>8}" for kind in KINDS)]
    for count in ROWS:
        sums = []
        for kind in KINDS:
            here = [row for row in rows if (row["rows"], row["kind"]) == (count, kind)]
            best = [
                min((row["us"] for row in here if row["shape"] == shape), default=float("nan"))
                for shape in SHAPES
            ]
            sums.append(f"{sum(best):8.1f}")
        lines.append(f"{count:4}  " + "  ".join(sums))
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--share", nargs=2, metavar=("JOB", "FOLDER"), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    until = time.time() + chosen.seconds
    if chosen.share:
        some(int(chosen.share[0]), chosen.jobs, Path(chosen.share[1]), until)
        return 0
    with TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "tests.gpu.products", *sys.argv[1:]]
        running = [
            subprocess.Popen([*words, "--share", str(job), folder]) for job in range(chosen.jobs)
        ]
        failed = [one.wait() for one in running]
        rows = [row for file in Path(folder).glob("*.json") for row in json.loads(file.read_text())]
    about = {"device": torch.cuda.get_device_name(), "torch": torch.__version__}
    chosen.out.write_text(json.dumps({**about, "rows": rows}, indent=1), encoding="utf-8")
    print(f"{about['device']}: {len(rows)} of {len(list(asked()))} timed, best cut of each")
    print(f"largest error {max(row['error'] for row in rows):.4f}")
    print(table(rows))
    return int(any(failed))


if __name__ == "__main__":
    sys.exit(main())
