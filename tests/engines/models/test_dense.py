"""The pieces of a layer on whole sequences, against transformers' modules."""

from __future__ import annotations

import torch
from llmbench.engines.models.dense import (
    attention_block,
    attention_context,
    decoder_block,
    dense_logits,
    mlp_activation,
    mlp_block,
)

from .conftest import Saved
from .tiny import VOCAB, assert_near, load


def tokens(batch: int, length: int) -> torch.Tensor:
    return torch.randint(3, VOCAB, (batch, length), generator=torch.Generator().manual_seed(9))


@torch.no_grad()
def test_decoder_blocks_give_transformers_hidden_states(saved: Saved) -> None:
    token_ids = tokens(3, 17)
    expected = saved.reference(token_ids, output_hidden_states=True).hidden_states
    model = load(saved.directory)
    hidden = model.embedding[token_ids]
    for index, layer in enumerate(model.layers[:-1]):
        hidden = decoder_block(hidden, layer, model.rotary, model.config, model.ops)
        assert_near(hidden, expected[index + 1])


@torch.no_grad()
def test_pieces_are_the_inputs_and_outputs_of_the_projections(saved: Saved) -> None:
    """What AWQ searches over: the inputs of o and down, and the two blocks' outputs."""
    seen: dict[str, torch.Tensor] = {}
    reference = saved.reference.model.layers[0]
    for name in ("self_attn.o_proj", "mlp.down_proj", "self_attn.q_proj", "mlp.gate_proj"):
        reference.get_submodule(name).register_forward_hook(
            lambda _module, args, out, name=name: seen.update({name: args[0], name + ".out": out})
        )
    saved.reference(tokens(2, 11))
    model = load(saved.directory)
    layer, rest = model.layers[0], (model.rotary, model.config, model.ops)
    normed = seen["self_attn.q_proj"]
    context = attention_context(normed, layer, *rest)
    assert_near(context, seen["self_attn.o_proj"])
    block = attention_block(normed, layer, *rest)
    assert_near(block, seen["self_attn.o_proj.out"])
    normed = seen["mlp.gate_proj"]
    activation = mlp_activation(normed, layer, model.ops)
    assert_near(activation, seen["mlp.down_proj"])
    block = mlp_block(normed, layer, model.ops)
    assert_near(block, seen["mlp.down_proj.out"])


@torch.no_grad()
def test_dense_logits_are_those_of_transformers(saved: Saved) -> None:
    token_ids = tokens(1, 40)
    model, expected = load(saved.directory), saved.reference(token_ids).logits[0]
    assert_near(dense_logits(model, token_ids[0].tolist()), expected)
    last = dense_logits(model, token_ids[0].tolist(), first=33)
    assert_near(last, expected[33:])
