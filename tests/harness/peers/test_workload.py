"""Everyone is asked for the same tokens, of exactly the asked lengths."""

from __future__ import annotations

import random

import pytest
from llmbench.harness.peers.workload import MAX_MODEL_LEN, MAX_NUM_SEQS, SHAPES, Figure, make_jobs
from llmbench.workloads.api import WorkloadError


def corpus(seed: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(50_000) for _ in range(20_000)]


def test_every_prompt_has_its_exact_length() -> None:
    seed = random.randrange(2**32)
    jobs = make_jobs(corpus(seed), seed)
    for shape, job in zip(SHAPES, jobs, strict=True):
        assert [len(prompt) for prompt in job.prompts] == [shape.prompt_tokens] * shape.requests
        assert job.output_tokens == shape.output_tokens
        assert job.prompt_tokens == shape.requests * shape.prompt_tokens


def test_the_workload_is_the_one_of_the_claim() -> None:
    job = make_jobs(corpus(0), 0)[-1]
    assert job.figure is Figure.OUTPUT
    assert (len(job.prompts), len(job.prompts[0]), job.output_tokens) == (32, 128, 64)
    assert MAX_NUM_SEQS == 8


def test_no_two_prompts_begin_alike() -> None:
    """Or a prefix cache would compute one of them less."""
    prompts = [prompt for job in make_jobs(corpus(1), 1) for prompt in job.prompts]
    assert len({prompt[:4] for prompt in prompts}) == len(prompts)


def test_a_seed_decides_the_tokens() -> None:
    text = corpus(2)
    assert make_jobs(text, 3) == make_jobs(text, 3)
    assert make_jobs(text, 3) != make_jobs(text, 4)


def test_every_job_fits_what_engines_are_told_to_hold() -> None:
    assert max(shape.prompt_tokens + shape.output_tokens for shape in SHAPES) <= MAX_MODEL_LEN


def test_every_figure_has_a_job_and_a_warm_up_comes_first() -> None:
    assert [shape.figure for shape in SHAPES] == [None, *Figure]


def test_an_empty_text_is_refused() -> None:
    with pytest.raises(WorkloadError):
        make_jobs([], 0)
