"""Names of blocks: equal exactly where all tokens up to the block's end are."""

from __future__ import annotations

import os
import subprocess
import sys
from array import array
from hashlib import blake2b

from hypothesis import given
from hypothesis import strategies as st
from llmbench.engines.api import Request, SamplingParams
from llmbench.engines.kv.prefix import block_hashes, reusable_blocks
from llmbench.engines.state import RequestState


def state(tokens: list[int], salt: str | None = None) -> RequestState:
    request = Request("a", tuple(tokens), SamplingParams(max_tokens=8), cache_salt=salt)
    return RequestState(request)


def names(tokens: list[int], size: int = 2, salt: str | None = None) -> list[bytes]:
    return block_hashes(state(tokens, salt), size, len(tokens) // size)


def test_equal_prefixes_have_equal_names() -> None:
    assert names([1, 2, 3, 4, 5, 6])[:2] == names([1, 2, 3, 4, 9, 9])[:2]


def test_the_same_tokens_after_another_parent_have_another_name() -> None:
    assert names([1, 2, 3, 4])[1] != names([2, 1, 3, 4])[1]


def test_a_block_is_not_its_parent_though_their_tokens_are_equal() -> None:
    first, second, third = names([7, 7, 7, 7, 7, 7])
    assert len({first, second, third}) == 3


def test_generated_tokens_count_like_those_of_a_prompt() -> None:
    generated = state([1, 2, 3])
    generated.append(4)
    assert block_hashes(generated, 2, 2) == names([1, 2, 3, 4])


tokens = st.lists(st.integers(0, 2), min_size=2, max_size=8)


@given(left=tokens, right=tokens)
def test_names_agree_exactly_as_far_as_the_blocks_do(left: list[int], right: list[int]) -> None:
    common = 0
    while left[common : common + 2] == right[common : common + 2] != []:
        if len(left) < common + 2 or len(right) < common + 2:
            break
        common += 2
    pairs = list(zip(names(left), names(right), strict=False))
    agree = [one == other for one, other in pairs]
    assert agree == [index < common // 2 for index in range(len(pairs))]


salts = st.none() | st.text(min_size=1, max_size=20)


@given(tokens=tokens, one=salts, other=salts)
def test_requests_share_all_names_of_one_salt_and_none_of_two(
    tokens: list[int], one: str | None, other: str | None
) -> None:
    left, right = names(tokens, salt=one), names(tokens, salt=other)
    assert left == names(tokens, salt=one)
    assert (one == other) == bool(set(left) & set(right))


def test_a_salt_is_not_the_tokens_that_it_may_be_read_as() -> None:
    """Eight bytes in front of a block of one token, and a block of two."""
    first = (7).to_bytes(8, "little").decode()
    assert not set(names([9], 1, salt=first)) & set(names([7, 9], 2) + names([7, 9], 1))


def test_without_a_salt_a_name_is_of_the_tokens_alone() -> None:
    by_hand = blake2b(array("q", [1, 2]).tobytes(), digest_size=16).digest()
    assert names([1, 2]) == [by_hand]


def test_a_name_is_sixteen_bytes_and_the_same_in_every_process() -> None:
    script = (
        "from tests.engines.kv.test_prefix import names;"
        "print(names([1, 2, 3, 4, 50_000, 6])[-1].hex())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert printed == {names([1, 2, 3, 4, 50_000, 6])[-1].hex()}
    assert len(printed.pop()) == 32


def test_what_may_be_reused_ends_before_the_newest_token() -> None:
    # Blocks of four: 8 known tokens leave one whole block before the last token, 9 leave two.
    known = {length: reusable_blocks(state([0] * length), 4) for length in (1, 4, 5, 8, 9, 12)}
    assert known == {1: 0, 4: 0, 5: 1, 8: 1, 9: 2, 12: 2}
