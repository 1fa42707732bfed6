"""A step's inputs travel in one piece and arrive as what they were."""

from __future__ import annotations

import random

import pytest
import torch
from llmbench.engines.executors.inputs import StepInputs
from llmbench.engines.executors.staging import (
    PackedFields,
    Staging,
    decode_form,
    fill,
    form_of,
    host_tensors,
)

CPU = torch.device("cpu")


def random_inputs(draw: random.Random, *, paged: bool, decodes: bool = False) -> StepInputs:
    lengths = [1 if decodes else draw.randint(1, 5) for _ in range(draw.randint(1, 6))]
    tokens, sequences = sum(lengths), len(lengths)

    def numbers(count: int, below: int = 2**40) -> list[int]:
        return [draw.randrange(below) for _ in range(count)]

    rows = sequences if decodes else draw.randint(0, sequences)
    awaited = draw.randint(0, rows)
    return StepInputs(
        numbers(tokens),
        numbers(tokens),
        numbers(tokens),
        numbers(rows, tokens),
        lengths,
        numbers(sequences, 2**31),
        [numbers(draw.randint(1, 4)) for _ in lengths] if paged else [],
        [] if paged else numbers(sequences),
        numbers(awaited, tokens),
        numbers(awaited, 99),
    )


def check(views: dict[str, torch.Tensor], inputs: StepInputs) -> None:
    for name in ("token_ids", "positions", "slots"):
        assert views[name].dtype == torch.int64
        assert views[name].tolist() == getattr(inputs, name)
    for name in ("awaited", "awaited_rows"):
        assert views[name][: len(inputs.awaited)].tolist() == getattr(inputs, name)
    assert views["kv_lengths"].dtype == views["query_starts"].dtype == torch.int32
    assert views["kv_lengths"].tolist() == inputs.kv_lengths
    assert views["query_starts"][0] == 0
    assert views["query_starts"].diff().tolist() == inputs.query_lengths
    if inputs.tables:
        for row, table in zip(views["tables"], inputs.tables, strict=True):
            assert row[: len(table)].tolist() == table
    else:
        assert views["starts"].tolist() == inputs.starts


@pytest.mark.parametrize("paged", [True, False], ids=["paged", "contiguous"])
def test_what_is_staged_arrives(paged: bool) -> None:
    draw = random.Random(random.randrange(2**32))
    staging = Staging(CPU)
    for _ in range(20):
        inputs = random_inputs(draw, paged=paged)
        form = form_of(inputs)
        views = form.views(staging.to_device(staging.write(form, inputs)))
        check(views, inputs)
        assert views["logit_rows"].tolist() == inputs.logit_rows


@pytest.mark.parametrize("paged", [True, False], ids=["paged", "contiguous"])
def test_a_model_on_the_host_reads_the_same(paged: bool) -> None:
    draw = random.Random(random.randrange(2**32))
    for _ in range(20):
        inputs = random_inputs(draw, paged=paged)
        tensors = host_tensors(inputs)
        staged = form_of(inputs).views(Staging(CPU).write(form_of(inputs), inputs))
        for name in ("token_ids", "positions", "slots", "logit_rows"):
            assert tensors[name].dtype == torch.int64
            assert torch.equal(tensors[name], staged[name])
        for name in ("awaited", "awaited_rows"):
            assert (name in tensors) == bool(inputs.awaited)
            assert name not in tensors or torch.equal(tensors[name], staged[name])
        assert ("tables" in tensors) == paged
        for row, table in enumerate(inputs.tables):
            assert tensors["tables"][row, : len(table)].tolist() == table


def test_a_step_is_kept_while_the_next_one_is_written() -> None:
    draw = random.Random(random.randrange(2**32))
    staging = Staging(CPU)
    first, second = (random_inputs(draw, paged=True) for _ in range(2))
    packed = staging.write(form_of(first), first)
    staging.write(form_of(second), second)
    check(form_of(first).views(packed), first)


@pytest.mark.parametrize("paged", [True, False], ids=["paged", "contiguous"])
def test_a_bucket_is_written_into_the_tensors_that_its_graph_reads(paged: bool) -> None:
    draw = random.Random(random.randrange(2**32))
    static = torch.full((4096,), -1, dtype=torch.int32)
    staging = Staging(CPU)
    for _ in range(10):
        inputs = random_inputs(draw, paged=paged, decodes=True)
        form = decode_form(len(inputs.token_ids), 4 if paged else None)
        views = form.views(static)
        staging.to_device(staging.write(form, inputs), static)
        check(views, inputs)


def test_every_field_is_aligned_for_triton() -> None:
    inputs = random_inputs(random.Random(random.randrange(2**32)), paged=True)
    for form in (form_of(inputs), decode_form(3, 5), decode_form(1, None)):
        packed = torch.zeros(form.words, dtype=torch.int32)
        base = packed.data_ptr()
        views = form.views(packed)
        for view in views.values():
            assert (view.data_ptr() - base) % 16 == 0
        ends = {view.data_ptr() + view.nbytes for view in views.values()}
        assert max(ends) <= base + packed.nbytes


def test_a_form_of_nothing_takes_no_room() -> None:
    assert PackedFields({}).words == 0


def test_filling_touches_nothing_beside_its_fields() -> None:
    inputs = random_inputs(random.Random(random.randrange(2**32)), paged=False)
    form = form_of(inputs)
    packed = torch.full((form.words + 8,), -7, dtype=torch.int32)
    fill(form, packed.numpy(), inputs)
    assert packed[form.words :].tolist() == [-7] * 8
