"""Any decoder that transformers has, over our KV cache: no code of ours for its architecture.

transformers computes everything but attention, which it calls by name (see `hf_attention`). All
tokens of a step go through as one sequence of T, each with its own position.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from ...kernels.batch import AttentionBatch, ContiguousBatch
from ..errors import ModelError
from .decoder import AttentionTimer, Likeliest
from .hf_attention import SERVED, Step, serving
from .hf_config import TransformersConfig, takes
from .kv_tensors import KVTensors, allocate_shared
from .loader import Checkpoint
from .ops import AttentionOps


class TransformersDecoder:
    """A transformers model behind the contract of `Decoder`."""

    def __init__(
        self,
        config: TransformersConfig,
        model: Any,
        ops: AttentionOps,
        *,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.config = config
        self.dtype = dtype
        self.device = device
        self._model = model
        self._ops = ops
        self._takes_rows = takes(model, "logits_to_keep")

    @property
    def weight_bytes(self) -> int:
        """Bytes of every parameter but embedding tables, of which a step reads a row a token;
        when tied, the output projection counts its table. Experts count whole, routed to or not.
        """
        output = self._model.get_output_embeddings()
        tables = {
            id(module.weight)
            for module in self._model.modules()
            if isinstance(module, nn.Embedding)
        } - {id(output.weight)}
        parameters = self._model.parameters()
        return sum(one.nbytes for one in parameters if id(one) not in tables)

    def head_bytes(self, rows: int, argmax_only: bool = False) -> int:
        """As `Decoder.head_bytes`."""
        del rows, argmax_only
        return sum(one.nbytes for one in self._model.get_output_embeddings().parameters())

    @torch.inference_mode()
    def forward(
        self,
        token_ids: Tensor,
        positions: Tensor,
        cache: KVTensors,
        batch: AttentionBatch,
        slot_mapping: Tensor,
        logit_rows: Tensor | None = None,
        timer: AttentionTimer | None = None,
        likeliest: Likeliest | None = None,  # noqa: ARG002
    ) -> Tensor:
        """As `Decoder.forward`."""
        rows = {}
        if logit_rows is not None and self._takes_rows:
            rows["logits_to_keep"] = logit_rows
        step = Step(cache, batch, slot_mapping, self._ops, self.config.windows, timer)
        with serving(step):
            logits = self._model(
                input_ids=token_ids[None], position_ids=positions[None], use_cache=False, **rows
            ).logits[0]
        if logit_rows is not None and not self._takes_rows:
            logits = logits[logit_rows]
        return logits


def load_decoder(
    directory: Path,
    config: TransformersConfig,
    ops: AttentionOps,
    *,
    dtype: torch.dtype,
    device: torch.device,
) -> TransformersDecoder:
    """The model of a directory with its weights, from safetensors only; no code of the model's
    own is run. Raises ModelError."""
    Checkpoint(directory)  # names a file that is missing, truncated or pickled
    bars = transformers.utils.logging.is_progress_bar_enabled()
    transformers.utils.logging.disable_progress_bar()
    try:
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(
            directory,
            dtype=dtype,
            attn_implementation=SERVED,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        problem = f"cannot be loaded ({str(error).strip().partition(chr(10))[0]})"
        raise ModelError("model", str(directory), problem) from error
    finally:
        if bars:
            transformers.utils.logging.enable_progress_bar()
    model, info = loaded  # as output_loading_info asks
    _check_parameters(info, directory)
    decoder = TransformersDecoder(config, model.eval().to(device), ops, dtype=dtype, device=device)
    _check_that_tokens_meet_in_attention_only(decoder)
    return decoder


def _check_parameters(info: dict[str, Any], directory: Path) -> None:
    """transformers draws what is missing at random and leaves out what it does not know."""
    for kind, problem in (
        ("missing_keys", "lacks the tensor"),
        ("mismatched_keys", "has another shape than its config.json asks for of"),
        ("unexpected_keys", "has a tensor that its config.json does not,"),
    ):
        if names := sorted(map(str, info[kind])):
            raise ModelError("model", str(directory), f"{problem} {names[0]!r}")


@torch.inference_mode()
def _check_that_tokens_meet_in_attention_only(decoder: TransformersDecoder) -> None:
    """A token must see others through its KV cache alone: what else a model passes from token to
    token (a convolution, a recurrence) would be lost between steps and mixed between requests.

    Two sequences of one token stand side by side, the first with an embedding that is not a
    number. If that reaches the second's logits, it went there past attention.
    """
    model, device = decoder._model, decoder.device

    def second_row() -> Tensor:
        positions = torch.arange(2, device=device)
        arena = allocate_shared(decoder.config, 2, decoder.dtype, device)
        batch = ContiguousBatch(query_lengths=(1, 1), kv_lengths=(1, 1), starts=(0, 1))
        ids = torch.zeros(2, dtype=torch.int64, device=device)
        return decoder.forward(ids, positions, arena, batch, positions, positions[1:])

    def poison(_module: nn.Module, _inputs: object, embedded: Tensor) -> Tensor:
        embedded = embedded.clone()
        embedded[0, 0] = torch.nan
        return embedded

    clean = second_row()
    hook = model.get_input_embeddings().register_forward_hook(poison)
    try:
        poisoned = second_row()
    finally:
        hook.remove()
    if not torch.equal(clean.isnan(), poisoned.isnan()):
        raise ModelError(
            "model",
            decoder.config.architecture,
            "passes something from token to token beside keys and values, which is not computed",
        )
