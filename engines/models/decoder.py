"""What an engine asks of a model, whoever computes it: our own Llama, or transformers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor

from ...kernels.batch import AttentionBatch

if TYPE_CHECKING:
    from .kv_tensors import KVTensors


class DecoderConfig(Protocol):
    """The facts of a model that size its KV cache and bound its requests.

    Every layer keeps one key and one value of [num_kv_heads, head_dim] a token.
    """

    @property
    def family(self) -> str:
        """As `model_type` in config.json spells it."""
        ...

    @property
    def vocab_size(self) -> int: ...

    @property
    def num_layers(self) -> int: ...

    @property
    def num_kv_heads(self) -> int: ...

    @property
    def head_dim(self) -> int: ...

    @property
    def max_position_embeddings(self) -> int:
        """Tokens that a request may come to, prompt and output together."""
        ...

    @property
    def eos_token_ids(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str:
        """As stored."""
        ...

    @property
    def parameter_count(self) -> int:
        """Parameters stored; a tied output projection counts once."""
        ...

    def kv_bytes_per_token(self, dtype: str, kv_dtype: str = "auto") -> int:
        """Keys and values of one token over all layers, the scales of a quantised cache included.

        dtype: the model's, a key of DTYPE_BYTES. kv_dtype: auto, or a key of KV_CODE_BYTES.
        """
        ...


@dataclass
class AttentionTimer:
    """Adds up the host's time in attention, with the cache write before it and, in our own decoder,
    the norms of q and k and the rotation. True on a CPU only: an accelerator's launches return
    early."""

    seconds: float = 0.0


@dataclass
class Likeliest:
    """Asks of a pass where each row's largest logit is, and nothing else of its logits.

    places: int64 [rows], as the operation `argmax` gives them, if the pass found them on its way;
    else None, and the logits tell.
    """

    places: Tensor | None = None


class Decoder(Protocol):
    """A model with its weights on a device. It keeps no state between calls."""

    @property
    def config(self) -> DecoderConfig: ...

    @property
    def dtype(self) -> torch.dtype: ...

    @property
    def device(self) -> torch.device: ...

    @property
    def weight_bytes(self) -> int:
        """Bytes of weights that a decode step reads, the embedding table left out unless tied."""
        ...

    def head_bytes(self, rows: int, argmax_only: bool = False) -> int:
        """Bytes that a decode step reads of the output projection, or in its place, for so many
        rows of logits, of which the argmax alone may be wanted; at least."""
        ...

    def forward(
        self,
        token_ids: Tensor,
        positions: Tensor,
        cache: KVTensors,
        batch: AttentionBatch,
        slot_mapping: Tensor,
        logit_rows: Tensor | None = None,
        timer: AttentionTimer | None = None,
        likeliest: Likeliest | None = None,
    ) -> Tensor:
        """One pass over T packed tokens -> logits [rows, vocab] in the model's dtype.

        token_ids, positions, slot_mapping: int64 [T]; the tokens' keys and values are written to
        their slots of `cache`, then read through `batch`. logit_rows int64 [rows]: the tokens
        whose next token is wanted, in that order; None: all T. likeliest: if it is given, logits
        below a row's largest may be left at -infinity.
        """
        ...
