"""What a decode step of Llama-3-8B launches, compiled for GPUs that are not here: that it compiles,
with which instructions, and how many of them its loops have."""

from __future__ import annotations

import pytest
from llmbench.kernels.triton import attention, nibbles, w4a8

from .llama_launches import LAUNCHES
from .sass import loops
from .triton_launches import as_on

# Each takes seconds, so each name meets what is likeliest to differ there.
COMPILED = {
    "sm_80": ("w4a16, 1 row",),
    "sm_90": tuple(LAUNCHES),
    "sm_100": ("w4a16, 64 rows", "fp8, 64 rows", "contiguous contexts"),
    "sm_120": ("w4a16, 1 row", "contiguous decode, split", "sample, nothing"),
    "gfx942": ("w4a16, 64 rows", "contiguous decode"),
}
# Instructions of the longest loop, a tenth above what Triton 3.6 and 3.7 make. With tokens as the
# first factor 4-bit weights took 350 at 64 rows; with words across the inputs, 376 at one.
MOST_INSTRUCTIONS = {
    ("sm_80", "w4a16, 1 row"): 235,
    ("sm_90", "w4a16, 1 row"): 263,
    ("sm_90", "w4a16, 1 row, symmetric"): 247,
    ("sm_90", "w4a16, 32 rows"): 272,
    ("sm_90", "w4a16, 64 rows"): 288,
    ("sm_90", "w4a8, 1 row"): 290,
    ("sm_90", "fp8, 1 row"): 141,
}
PRODUCTS = ("nibbles_kernel", "w4a8_kernel", "codes_kernel")


@pytest.mark.parametrize(
    ("target", "name"), [(target, name) for target, names in COMPILED.items() for name in names]
)
def test_it_compiles(target: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_on(target, monkeypatch, nibbles, w4a8, attention)
    seen = LAUNCHES[name]()
    assert seen
    for launch in seen:
        made = launch.made(target)
        most = MOST_INSTRUCTIONS.get((target, name))
        if most is not None and launch.kernel.__name__ in PRODUCTS:
            assert max(loop.total() for loop in loops(made)) <= most


@pytest.mark.parametrize("rows", [1, 64])
def test_four_bit_weights_are_multiplied_out_of_registers(rows: int) -> None:
    """A LOP3 makes two floats, which go to the tensor cores as they are; 16 bytes of words come
    with one LDS. Nothing is put back into shared memory."""
    (loop,) = loops(LAUNCHES[f"w4a16, {rows} row{'s' * (rows > 1)}"]()[0].made("sm_90"))
    assert loop["HGMMA"] == 8
    assert loop["LDS"] <= 8
    assert loop["STS"] == 0
    assert loop["LOP3"] <= 34  # two of 64 weights each


def test_passes_of_the_sampler_divide_nothing() -> None:
    """Before, each number of each of 37 passes: a quotient by IEEE's rules is a dozen instructions
    and a call."""
    for name in ("sample, nothing", "sample, top-p", "sample, all three"):
        for loop in loops(LAUNCHES[name]()[0].made("sm_90")):
            assert loop["FCHK"] == loop["CALL"] == 0
            assert loop.total() <= 320


def test_a_row_becomes_codes_with_all_the_warps_it_feeds() -> None:
    """One program a row, which reads it twice: four warps have few loads on their way."""
    codes = LAUNCHES["fp8, 1 row"]()[0]
    assert codes.kernel.__name__ == "token_codes_kernel"
    assert codes.arguments["num_warps"] == 16
