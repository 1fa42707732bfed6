"""Inline PTX computes what the kernels write out for the interpreter: read here by the manual."""

from __future__ import annotations

import re

import pytest
import torch

WORD = 0xFFFFFFFF


def run(ptx: str, *inputs: int) -> int:
    """$0 after instructions of 32 bits, $1 … being inputs. lop3's result is the bit of its table
    that the three inputs' bits number, a the highest (PTX manual, 9.7.8.6). fma is that of two
    numbers of 16 bits, where it is exact."""
    registers = {f"${at}": value for at, value in enumerate(inputs, 1)}
    for line in filter(None, (one.strip(" {}") for one in ptx.split(";"))):
        if line.startswith(".reg"):
            continue
        name, out, *sources = re.split(r"[\s,]+", line)
        a, *more = (registers[one] if one in registers else int(one, 0) for one in sources)
        b, *more = more or [0]
        if name == "lop3.b32":
            c, table = more
            bits = (((a >> i & 1) << 2 | (b >> i & 1) << 1 | c >> i & 1, i) for i in range(32))
            value = sum((table >> which & 1) << i for which, i in bits)
        elif name.startswith("fma"):
            value = fma(name, a, b, *more)
        else:
            value = {
                "mov.b32": lambda a, _: a,
                "shl.b32": lambda a, b: a << b,
                "shr.u32": lambda a, b: a >> b,
                "and.b32": lambda a, b: a & b,
                "or.b32": lambda a, b: a | b,
                "xor.b32": lambda a, b: a ^ b,
                "sub.u32": lambda a, b: a - b,
            }[name](a, b)
        registers[out] = value & WORD
    return registers["$0"]


def fma(name: str, *words: int) -> int:
    """Of pairs, whose sums of products must be numbers of that dtype."""
    dtype = {"fma.rn.bf16x2": torch.bfloat16, "fma.rn.f16x2": torch.float16}[name]
    a, b, c = (torch.tensor([one]).to(torch.uint32).view(dtype).double() for one in words)
    result = (a * b + c).to(dtype)
    assert torch.equal(result.double(), a * b + c)
    return int(result.view(torch.int32))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_four_e4m3_bytes_become_two_pairs_of_floats(dtype: str) -> None:
    """Every code, beside others that must not come through; of the two NaN codes ±480."""
    pytest.importorskip("triton")
    from llmbench.kernels.triton.attention_words import widened

    codes = torch.arange(256, dtype=torch.uint8)
    numbers = codes.view(torch.float8_e4m3fn).float().tolist()
    numbers[0x7F], numbers[0xFF] = 480.0, -480.0
    for code in range(256):
        for other in (0x00, 0xFF, 0x55, 0xAA):
            for high in range(2):
                ptx = str(widened(high, dtype))
                first = (code, other) if not high else (other, code)
                second = (255 - code, other) if not high else (other, 255 - code)
                word = sum(one << 8 * at for at, one in enumerate((*first, *second)))
                pair = torch.tensor([run(ptx, word)]).to(torch.uint32).view(getattr(torch, dtype))
                assert pair.tolist() == [numbers[code], numbers[255 - code]]
                assert pair.signbit().tolist() == [code >= 128, code < 128]


@pytest.mark.parametrize(
    ("dtype", "magic", "added"), [("float16", "0x64006400", 1024), ("bfloat16", "0x43004300", 128)]
)
def test_two_words_become_two_floats(dtype: str, magic: str, added: int) -> None:
    pytest.importorskip("triton")
    from llmbench.kernels.triton.nibbles_kernel import taken

    for part in range(4):
        ptx = str(taken(4 * part, magic))
        for low, high in ((low, (5 * low + 3) % 16) for low in range(16)):
            around = 0xFFFF ^ (0xF << 4 * part)  # bits of other parts, which must not come through
            word = low << 4 * part | around | (high << 4 * part | around) << 16
            pair = torch.tensor([run(ptx, word)]).to(torch.uint32).view(getattr(torch, dtype))
            assert pair.tolist() == [added + low, added + high]


def test_four_bytes_become_four_differences() -> None:
    """Every code with every zero, beside others that would borrow."""
    pytest.importorskip("triton")
    from llmbench.kernels.triton.w4a8_kernel import HIGH, LOW

    for code in range(16):
        for zero in range(16):
            codes = (code, 0, 15, code)
            zeros = (zero, 15, 0, zero)
            expected = [one - other for one, other in zip(codes, zeros, strict=True)]
            less = sum(one << 8 * at for at, one in enumerate(zeros))
            for ptx, shift in ((LOW, 0), (HIGH, 4)):
                both = sum(
                    (one << shift | 0xF << (4 - shift)) << 8 * at for at, one in enumerate(codes)
                )
                found = torch.tensor([run(ptx.value, both, less)]).to(torch.uint32).view(torch.int8)
                assert found.tolist() == expected
