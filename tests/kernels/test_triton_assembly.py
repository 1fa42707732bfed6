"""Inline PTX computes what the kernels write out for the interpreter: read here by the manual."""

from __future__ import annotations

import re

import pytest
import torch

WORD = 0xFFFFFFFF


def run(ptx: str, *inputs: int) -> int:
    """$0 after instructions of 32 bits, $1 … being inputs. lop3's result is the bit of its table
    that the three inputs' bits number, a the highest (PTX manual, 9.7.8.6)."""
    registers = {f"${at}": value for at, value in enumerate(inputs, 1)}
    for line in filter(None, (one.strip() for one in ptx.split(";"))):
        name, out, *sources = re.split(r"[\s,]+", line)
        a, b, *more = (registers[one] if one in registers else int(one, 0) for one in sources)
        if name == "lop3.b32":
            c, table = more
            bits = (((a >> i & 1) << 2 | (b >> i & 1) << 1 | c >> i & 1, i) for i in range(32))
            value = sum((table >> which & 1) << i for which, i in bits)
        else:
            value = {
                "shr.u32": lambda a, b: a >> b,
                "and.b32": lambda a, b: a & b,
                "or.b32": lambda a, b: a | b,
                "xor.b32": lambda a, b: a ^ b,
                "sub.u32": lambda a, b: a - b,
            }[name](a, b)
        registers[out] = value & WORD
    return registers["$0"]


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
