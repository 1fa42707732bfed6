"""Token choice: what may be chosen, how often, and that company changes nothing."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log, nan
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from llmbench.engines.api import SamplingParams
from llmbench.engines.errors import ConfigError
from llmbench.engines.sampling import (
    Draw,
    Sampled,
    choose,
    penalised,
    sample,
    wants_argmax_only,
)
from llmbench.kernels.reference.sample import NO_TOKEN
from llmbench.kernels.registry import implementations
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

from .drawn import DRAWS, LOGITS, RANDOM, check_shares, tokens


def test_greedy_takes_the_likeliest() -> None:
    logits = torch.tensor([[0.0, 3.0, 1.0], [2.0, -1.0, 1.0]])
    assert tokens(logits, [Draw(SamplingParams(), 0)] * 2) == [1, 0]


HALF = log(2)  # A penalty that halves a probability's weight.


SHARES = [
    (RANDOM, [0.5, 0.25, 0.15, 0.1]),
    # Temperature 1/2 squares: 0.25, 0.0625, 0.0225, 0.01 of 0.345.
    (
        replace(RANDOM, temperature=0.5),
        [0.25 / 0.345, 0.0625 / 0.345, 0.0225 / 0.345, 0.01 / 0.345],
    ),
    (replace(RANDOM, top_k=2), [2 / 3, 1 / 3, 0, 0]),
    (replace(RANDOM, top_k=99), [0.5, 0.25, 0.15, 0.1]),
    # The smallest set that reaches 0.7 is the first two; it reaches 0.5 with the first alone.
    (replace(RANDOM, top_p=0.7), [2 / 3, 1 / 3, 0, 0]),
    (replace(RANDOM, top_p=0.5), [1, 0, 0, 0]),
    # At least 0.25 * 0.5 = 0.125: the first three, 0.9 together.
    (replace(RANDOM, min_p=0.25), [0.5 / 0.9, 0.25 / 0.9, 0.15 / 0.9, 0]),
    (replace(RANDOM, min_p=1.0), [1, 0, 0, 0]),
    # Token 0 stands twice in the output, token 3 in the prompt only, which does not count:
    # 0.25, 0.25, 0.15, 0.1 of 0.75, and 0.125, 0.25, 0.15, 0.1 of 0.625.
    (replace(RANDOM, presence_penalty=HALF), [1 / 3, 1 / 3, 0.2, 0.1 / 0.75]),
    (replace(RANDOM, frequency_penalty=HALF), [0.2, 0.4, 0.24, 0.16]),
    # A penalty of 2 squares a probability, the logarithm being negative. Prompt and output count,
    # each token once: 0.25, 0.25, 0.15, 0.01 of 0.66.
    (replace(RANDOM, repetition_penalty=2.0), [0.25 / 0.66, 0.25 / 0.66, 0.15 / 0.66, 0.01 / 0.66]),
    # Penalty, then temperature: (0.5/2)^2, 0.25^2, 0.15^2, 0.1^2 of 0.1575.
    (
        replace(RANDOM, presence_penalty=HALF, temperature=0.5),
        [0.0625 / 0.1575, 0.0625 / 0.1575, 0.0225 / 0.1575, 0.01 / 0.1575],
    ),
    # Repetition, then presence: 0.25/2, 0.25, 0.15, 0.01 of 0.535. The other way round token 0
    # would weigh (0.5/2)^2.
    (
        replace(RANDOM, repetition_penalty=2.0, presence_penalty=HALF),
        [0.125 / 0.535, 0.25 / 0.535, 0.15 / 0.535, 0.01 / 0.535],
    ),
    # Temperature, then min-p: 0.145 of 0.725 is above the third. Before it, all four would stay.
    (replace(RANDOM, temperature=0.5, min_p=0.2), [0.8, 0.2, 0, 0]),
    # Min-p, then top-p: of 5/9, 5/18, 1/6 the first two reach 0.8. Of the whole they do not.
    (replace(RANDOM, min_p=0.25, top_p=0.8), [2 / 3, 1 / 3, 0, 0]),
    # Top-k, then top-p: of 2/3 and 1/3 the first reaches 0.6. Of the whole it does not.
    (replace(RANDOM, top_k=2, top_p=0.6), [1, 0, 0, 0]),
]


@pytest.mark.parametrize(("sampling", "expected"), SHARES)
def test_tokens_come_as_often_as_they_should(
    sampling: SamplingParams, expected: list[float]
) -> None:
    assert sum(expected) == pytest.approx(1)
    draw = Draw(sampling, 0, prompt_token_ids=(3,), output_token_ids=(0, 0))
    draws = [replace(draw, output_index=index) for index in range(DRAWS)]
    check_shares(tokens(LOGITS[None], draws, [0] * DRAWS), expected)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("penalty", [1.3, 0.8])
def test_the_repetition_penalty_is_that_of_transformers(penalty: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(1000, generator=generator)
    ids = torch.randint(0, 1000, (60,), generator=generator)
    sampling = SamplingParams(repetition_penalty=penalty)
    draw = Draw(sampling, 0, prompt_token_ids=ids[:45].tolist(), output_token_ids=ids[45:].tolist())
    before = logits.clone()
    scores = penalised(logits, draw)
    assert torch.equal(logits, before), "the logits are the caller's"
    processor: Any = RepetitionPenaltyLogitsProcessor(penalty)
    torch.testing.assert_close(scores, processor(ids[None], logits[None])[0], rtol=1e-6, atol=1e-6)


def test_openai_penalties_are_additive_whatever_the_sign() -> None:
    logits = torch.tensor([4.0, -4.0, 1.0, -1.0])
    sampling = SamplingParams(presence_penalty=0.5, frequency_penalty=-0.25)
    draw = Draw(sampling, 4, prompt_token_ids=(2, 2, 3), output_token_ids=(0, 1, 1, 1))
    # 4 - 0.5 + 0.25 and -4 - 0.5 + 3 * 0.25.
    assert penalised(logits, draw).tolist() == [3.75, -3.75, 1.0, -1.0]


def test_greedy_choice_is_taken_after_the_penalties() -> None:
    logits = torch.tensor([[4.0, 3.0, 1.0], [4.0, 3.0, 1.0], [4.0, 3.0, 1.0]])
    penalty = SamplingParams(presence_penalty=1.5)
    draws = [
        Draw(SamplingParams(), 1, output_token_ids=(0,)),
        Draw(penalty, 1, output_token_ids=(0,)),
        Draw(penalty, 1, prompt_token_ids=(0,), output_token_ids=(1,)),
    ]
    assert tokens(logits, draws) == [0, 1, 0]


whole_samplings = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.0]),
    top_k=st.sampled_from([0, 1, 5, 200]),
    top_p=st.sampled_from([1.0, 0.5, 0.95]),
    min_p=st.sampled_from([0.0, 0.1]),
    repetition_penalty=st.sampled_from([1.0, 1.2]),
    presence_penalty=st.sampled_from([0.0, 1.0]),
    frequency_penalty=st.sampled_from([0.0, -0.5]),
    logprobs=st.sampled_from([None, None, 0, 3, 7]),
    seed=st.integers(-5, 2**40),
)


some_ids = st.lists(st.integers(0, 96), max_size=12)


any_draws = st.builds(
    Draw,
    whole_samplings,
    st.integers(0, 5000),
    choice=st.integers(0, 3),
    prompt_token_ids=some_ids,
    output_token_ids=some_ids,
)


@settings(max_examples=100, deadline=None)
@given(
    draws=st.lists(st.tuples(any_draws, st.integers(0, 5)), min_size=1, max_size=10),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    seed=st.integers(0, 2**20),
)
def test_a_draw_depends_on_its_own_row_only(
    draws: list[tuple[Draw, int]], dtype: torch.dtype, seed: int
) -> None:
    # bfloat16 makes ties, whose order must not depend on the company either.
    logits = torch.randn(6, 97, generator=torch.Generator().manual_seed(seed)).to(dtype)
    rows = [row for _, row in draws]
    together = sample(logits, [draw for draw, _ in draws], rows)
    alone = [sample(logits[row : row + 1], [draw])[0] for draw, row in draws]
    assert together == alone


# And whether what it found is NaN, of one element a row.
ARGMAX = ("argmax", "unsqueeze", "gather", "select", "mul", "isnan", "masked_fill")


def test_a_greedy_batch_costs_one_argmax() -> None:
    class Operations(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.names: list[str] = []

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None):
            self.names.append(func.overloadpacket.__name__)
            return func(*args, **(kwargs or {}))

    logits = torch.randn(3, 50)
    draws = [Draw(SamplingParams(), 0, choice) for choice in range(8)]
    with Operations() as seen:
        assert tokens(logits, draws[:3], [0, 1, 2]) == logits.argmax(-1).tolist()
    assert seen.names == [*ARGMAX, "argmax"]  # the last is this test's
    with Operations() as seen:
        drawn = tokens(logits, draws, [2] * 8)
    assert drawn == [int(logits[2].argmax())] * 8
    assert seen.names == [*ARGMAX, "lift_fresh", "index_select"]


@pytest.mark.parametrize(
    ("changes", "enough"),
    [
        ({}, True),
        # Of these nothing is read where the choice is greedy.
        ({"top_k": 3, "top_p": 0.5, "min_p": 0.1, "seed": 7}, True),
        ({"logprobs": 0}, False),
        ({"logprobs": 2}, False),
        ({"temperature": 0.5}, False),
        ({"repetition_penalty": 1.5}, False),
        ({"frequency_penalty": 0.5}, False),
        ({"presence_penalty": -0.5}, False),
    ],
    ids=lambda one: ", ".join(one) or "plain" if isinstance(one, dict) else None,
)
def test_what_the_argmax_alone_is_enough_for(changes: dict[str, Any], enough: bool) -> None:
    logits = torch.randn(1, 50)
    largest = torch.where(logits == logits.amax(), logits, -inf)
    plain, draw = Draw(SamplingParams(), 1), Draw(SamplingParams(**changes), 1, 0, (1,), (2,))
    assert wants_argmax_only([plain, draw]) == wants_argmax_only([draw, plain]) == enough
    if enough:
        assert sample(largest, [draw]) == sample(logits, [draw])


@pytest.mark.parametrize(
    "changes",
    [{}, {"temperature": 0.7}, {"temperature": 1.0, "top_k": 9, "top_p": 0.9, "min_p": 0.01}],
    ids=["greedy", "temperature", "all filters"],
)
def test_choosing_a_token_does_not_wait_for_the_device(changes: dict[str, Any]) -> None:
    """On the meta device there are no values to wait for: who asks for one raises. Penalties do."""
    logits, draws = torch.randn(3, 50), [Draw(SamplingParams(**changes), i) for i in range(4)]
    rows = [0, 2, 2, 1]
    chosen = choose(logits.to("meta"), draws, rows)
    assert (chosen.shape, chosen.dtype, chosen.device.type) == ((4,), torch.int64, "meta")
    assert [one.token_id for one in sample(logits, draws, rows)] == choose(
        logits, draws, rows
    ).tolist()
    penalised = [Draw(SamplingParams(presence_penalty=1.0, **changes), 1, 0, (1,), (2,))]
    with pytest.raises(RuntimeError):
        choose(logits.to("meta"), penalised, [0])


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.0},
        {"temperature": 2.0, "top_k": 1},
        {"temperature": 1.0, "top_p": 0.3, "repetition_penalty": 5.0},
    ],
)
def test_logprobs_are_the_models_own(changes: dict[str, Any]) -> None:
    # Token 0 is all that may come in each case; the penalty makes token 1 the unlikeliest.
    draw = Draw(SamplingParams(logprobs=2, **changes), 0, prompt_token_ids=(1,))
    (sampled,) = sample(LOGITS[None], [draw])
    assert sampled.token_id == 0
    assert sampled.logprobs is not None
    assert sampled.logprobs.rank == 1
    assert sampled.logprobs.logprob == pytest.approx(log(0.5))
    ids, values = zip(*sampled.logprobs.top, strict=True)
    assert ids == (0, 1)
    assert values == pytest.approx((log(0.5), log(0.25)))


def test_logprobs_of_an_unlikely_token_ties_and_counts() -> None:
    # e^0 three times, e^1 once: 1 / (3 + e) and e / (3 + e).
    logits = torch.tensor([[0.0, 1.0, 0.0, 0.0]])
    one, most = 1 / (3 + 2.718281828), 2.718281828 / (3 + 2.718281828)
    chosen = 3
    forced = SamplingParams(repetition_penalty=100.0, presence_penalty=2.0, logprobs=0)
    draw = Draw(forced, 3, output_token_ids=(0, 1, 2))
    (none, four, many) = sample(
        logits, [replace(draw, sampling=replace(forced, logprobs=k)) for k in (0, 4, 99)], [0, 0, 0]
    )
    assert [s.token_id for s in (none, four, many)] == [chosen] * 3
    assert none.logprobs is not None
    assert four.logprobs is not None
    assert none.logprobs.logprob == pytest.approx(log(one))
    # As likely as two others and less likely than one: the worst of the places they share.
    assert none.logprobs.rank == 4
    assert none.logprobs.top == ()
    assert [token for token, _ in four.logprobs.top] == [1, 0, 2, 3]
    assert [p for _, p in four.logprobs.top] == pytest.approx([log(most), *[log(one)] * 3])
    assert many.logprobs == four.logprobs


@pytest.mark.parametrize("value", [nan, inf])
def test_logits_that_are_no_numbers_are_not_drawn_from(value: float) -> None:
    shown = replace(RANDOM, logprobs=2)
    logits = torch.tensor([[0.0, value, 1.0], [0.0, 2.0, 1.0]])
    broken, other = sample(logits, [Draw(shown, 0)] * 2)
    assert broken == Sampled(NO_TOKEN, None)
    assert [other] == sample(logits, [Draw(shown, 0)], [1])
    assert other.logprobs is not None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_likeliest_token_is_taken_of_logits_that_are_nan(dtype: torch.dtype) -> None:
    logits = torch.tensor([[0.0, 2.0, 1.0], [0.0, nan, 1.0]], dtype=dtype)
    greedy = [Draw(SamplingParams(), 0)] * 2
    for rows, expected in (([0, 1], [1, NO_TOKEN]), ([0], [1]), ([1], [NO_TOKEN])):
        found = sample(logits, greedy[: len(rows)], rows)
        assert [one.token_id for one in found] == expected


@pytest.mark.parametrize(
    ("field", "values"),
    [
        ("max_tokens", [0, 1.5, nan, True, "3"]),
        ("temperature", [-1.0, 1e-45, nan, inf]),
        ("top_k", [-1, 2.5, nan, inf]),
        ("top_p", [0.0, 1.5, nan, inf]),
        ("min_p", [-0.1, 1.1, nan, inf]),
        ("repetition_penalty", [0.0, -1.0, 1e-30, 1e30, nan, inf]),
        ("presence_penalty", [-2.1, 2.1, nan, inf]),
        ("frequency_penalty", [-2.1, 2.1, nan, -inf]),
        ("n", [0, -1, 1.5, nan, inf]),
        ("seed", [1.5, nan, None]),
        ("logprobs", [-1, 1.5, nan, inf]),
        ("stop", ["a string", ("",), ("a", ""), (1,), ["a"], None]),
    ],
)
def test_sampling_parameters_are_checked(field: str, values: list[Any]) -> None:
    for value in values:
        with pytest.raises(ConfigError, match=rf"^{field}: .* is not allowed; expected .+$"):
            SamplingParams(**{field: value})


ON_CPU = [
    one.name
    for one in implementations("sample")
    if one.when(torch.device("cpu"), torch.float32) and (one.needs is None or one.needs() is None)
]


@pytest.mark.parametrize("name", ON_CPU)
@pytest.mark.parametrize(
    ("changes", "likely"), [({"top_p": 1e-46}, [2]), ({"temperature": 1e39}, [0, 2])]
)
def test_what_float32_cannot_say_changes_no_other_draw(
    name: str, changes: dict[str, Any], likely: list[int]
) -> None:
    """1e-46 became 0, of which no token may come, and 1e39 infinity: the whole batch failed."""
    logits = torch.tensor([[0.0, -inf, 1.0], [2.0, -1.0, 1.0]])
    extreme, greedy = replace(RANDOM, **changes), SamplingParams()
    found = sample(logits, [Draw(extreme, 0), Draw(greedy, 0)], force={"sample": name})
    assert found[0].token_id in likely
    assert found[1].token_id == 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("broken", [inf, nan])
def test_a_row_without_a_distribution_has_no_token_alone_and_beside_others(
    broken: float, dtype: torch.dtype
) -> None:
    """A greedy row with infinity in it gave a token alone, and ended the step beside a draw."""
    logits = torch.randn(2, 100).to(dtype)
    logits[0, 7] = broken
    greedy, drawn = (
        Draw(SamplingParams(max_tokens=4, temperature=temperature), 0) for temperature in (0, 1)
    )
    for draws in ([greedy], [greedy, drawn]):
        first, *others = sample(logits[: len(draws)], draws)
        assert first.token_id == NO_TOKEN
        assert all(other.token_id >= 0 for other in others)
