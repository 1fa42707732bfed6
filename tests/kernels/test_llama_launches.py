"""What a decode step of Llama-3-8B launches, compiled for GPUs that are not here: that it compiles,
with which instructions, and how many of them its loops have."""

from __future__ import annotations

import pytest
from llmbench.kernels.triton import attention, nibbles
from llmbench.kernels.triton import w4a8 as w4a8_linear

from .llama_launches import LAUNCHES, runs_on, w4a8, w4a16
from .sass import loops, registers
from .triton_launches import as_on

# Each takes seconds, so each name meets what is likeliest to differ there.
COMPILED = {
    "sm_80": ("w4a16, 1 row", "w4a16, 32 rows", "e4m3 decode"),
    "sm_90": tuple(LAUNCHES),
    "sm_100": ("w4a16, 1 row", "w4a16, 64 rows", "fp8, 64 rows", "contiguous contexts"),
    "sm_120": ("w4a16, 1 row", "contiguous decode, split", "sample, nothing"),
    "gfx942": ("w4a16, 1 row", "w4a16, 64 rows", "contiguous decode", "e4m3 decode"),
}
# Instructions of the longest loop, a tenth above what Triton 3.6 and 3.7 make: for 64 weights a
# thread, but 128 of four bits up to 32 rows. With tokens as the first factor 64 weights of four
# bits took 350 at 64 rows; with words across the inputs, 376 at one.
MOST_INSTRUCTIONS = {
    ("sm_80", "w4a16, 1 row"): 356,
    ("sm_90", "w4a16, 1 row"): 376,
    ("sm_90", "w4a16, 1 row, symmetric"): 376,
    ("sm_90", "w4a16, 32 rows"): 396,
    ("sm_90", "w4a16, 64 rows"): 288,
    ("sm_90", "w4a8, 1 row"): 374,
    ("sm_90", "w4a8, 64 rows"): 411,
    ("sm_90", "fp8, 1 row"): 141,
    # Of 128 keys. As bytes, which the device converted, they took 2196.
    ("sm_80", "e4m3 decode"): 1206,
    ("sm_90", "e4m3 decode"): 1200,
    ("sm_90", "e4m3 decode, split"): 1206,
    # Of 64 keys.
    ("sm_90", "e4m3 contexts"): 1275,
}
BOUND = ("nibbles_kernel", "w4a8_kernel", "codes_kernel", "attention_kernel")


@pytest.mark.parametrize(
    ("target", "name"), [(target, name) for target, names in COMPILED.items() for name in names]
)
def test_it_compiles(target: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    as_on(target, monkeypatch, nibbles, w4a8_linear, attention)
    seen = LAUNCHES[name]()
    assert seen
    for launch in seen:
        made = launch.made(target)
        most = MOST_INSTRUCTIONS.get((target, name))
        if most is not None and launch.kernel.__name__ in BOUND:
            assert max(loop.total() for loop in loops(made)) <= most


@pytest.mark.parametrize("rows", [1, 32, 64])
def test_four_bit_weights_are_multiplied_out_of_registers(rows: int) -> None:
    """A LOP3 makes two floats, which go to the tensor cores as they are; 16 bytes of words come
    with one LDS. Nothing is put back into shared memory. Up to 32 rows nothing is loaded in the
    turn that needs it; at 64 a scale is, again, which is needed only when the sums are there."""
    made = LAUNCHES[f"w4a16, {rows} row{'s' * (rows > 1)}"]()[0].made("sm_90")
    (loop,) = loops(made)
    weights = 128 * 128 // (32 * made.metadata.num_warps)  # a thread's
    assert loop["HGMMA"] == weights // 8
    assert loop["LDS"] <= 12
    assert sum(count for name, count in loop.items() if name.startswith("STS")) == 0
    assert loop["LDG"] == (0 if rows <= 32 else 2)
    assert loop["LOP3"] <= 0.6 * weights  # two of 64 weights each


def test_four_bit_codes_are_multiplied_by_bytes_out_of_registers() -> None:
    """Nothing is put back into shared memory, and a turn waits for no zero point: what it loads, a
    scale of each row, is needed when the sums are there. Both halves of a group are one sum."""
    launch = next(one for one in w4a8(1) if one.kernel.__name__ == "w4a8_kernel")
    (loop,) = loops(launch.made("sm_90"))
    assert sum(count for name, count in loop.items() if name.startswith("STS")) == 0
    assert loop["LDG"] <= 2
    assert loop["IMMA"] == loop["I2FP"] == 16


@pytest.mark.parametrize("zero", [7, 8])
def test_few_rows_fill_an_h100_with_programs_that_run_at_once(zero: int) -> None:
    """Four programs on each of its 132 units, by their registers and their shared memory."""
    launch = w4a16(1, zero)[0]
    tiles = -(-launch.arguments["N"] // launch.arguments["BLOCK_N"])
    made = launch.made("sm_90")
    assert 3 * 132 < tiles * launch.arguments["SPLITS"] <= 4 * 132
    assert 4 * (made.metadata.shared + 1024) <= 228 * 1024
    assert 4 * 32 * made.metadata.num_warps * registers(made) <= 65536


@pytest.mark.parametrize("name", ["e4m3 decode", "e4m3 decode, split"])
def test_e4m3_keys_and_values_are_loaded_and_widened_as_pairs(name: str) -> None:
    """As bytes, 64 keys took 128 conversions, which a slow unit does, 112 loads from shared memory,
    of which 64 were of single bytes, and 12 of a block table and scales that nothing waits beside.
    A turn is of 128 keys now: 32768 codes are 128 pairs a thread."""
    loop = max(loops(LAUNCHES[name]()[0].made("sm_90")), key=lambda one: one.total())
    assert loop["F2F"] == 0
    assert loop["LDSM"] == 32
    assert loop["LDS"] <= 30
    assert loop["LDG"] <= 3  # the block of a key, and its two scales
    assert loop["HMUL2"] + loop["HFMA2"] <= 136


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


def test_what_is_printed_for_a_target_is_what_runs_there() -> None:
    """To compile a product of e4m3 for sm_80 raises, which ended the print."""
    left = [name for name in LAUNCHES if not runs_on("sm_80", name)]
    assert left == ["fp8, 1 row", "fp8, 64 rows"]
    assert all(runs_on("sm_89", name) for name in LAUNCHES)
