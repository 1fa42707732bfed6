from __future__ import annotations

import pytest
import torch
from llmbench.kernels.batch import AttentionBatch, ContiguousBatch, PagedBatch
from llmbench.kernels.device_lengths import DeviceLengths


@pytest.mark.parametrize("sequences", [1, 3, 8])
def test_lengths_as_tensors(sequences: int) -> None:
    lengths = torch.randint(0, 9, (2, sequences)).tolist()
    starts = torch.randint(0, 2**40, (sequences,)).tolist()
    device = torch.device("cpu")
    batches: list[AttentionBatch] = [
        ContiguousBatch(tuple(lengths[0]), tuple(lengths[1]), tuple(starts)),
        PagedBatch(tuple(lengths[0]), tuple(lengths[1]), torch.zeros(sequences, 1)),
    ]
    for batch in batches:
        on_device = batch.lengths_on(device)
        assert batch.lengths_on(device) is on_device
        assert on_device.query_starts.dtype == on_device.kv_lengths.dtype == torch.int32
        expected = [sum(lengths[0][:i]) for i in range(sequences + 1)]
        assert on_device.query_starts.tolist() == expected
        assert on_device.kv_lengths.tolist() == lengths[1]
    own = batches[0].lengths_on(device)
    assert own.starts is not None
    assert (own.starts.dtype, own.starts.tolist()) == (torch.int64, starts)
    assert batches[1].lengths_on(device).starts is None


def test_lengths_that_are_on_the_device_already_are_read_as_they_are() -> None:
    own = DeviceLengths(torch.tensor([0, 1]), torch.tensor([3]))
    batch = PagedBatch((1,), (9,), torch.zeros(1, 1), own)
    assert batch.lengths_on(torch.device("cpu")) is own


@pytest.mark.parametrize(
    ("query_lengths", "only"), [((1, 1), True), ((1, 2), False), ((1, 0), False), ((), True)]
)
def test_only_decodes(query_lengths: tuple[int, ...], only: bool) -> None:
    assert ContiguousBatch(query_lengths, query_lengths, query_lengths).only_decodes == only
