"""The scenario file: what may stand in it, as data. Every field's description is its documentation.

    {
      "engine": "paged",
      "block_size": 4,
      "pool_blocks": 5,
      "requests": [
        {"id": "a", "prompt_tokens": 8, "output_tokens": 5},
        {"id": "b", "prompt_tokens": 8, "output_tokens": 4, "arrival_step": 1}
      ]
    }

`Scenario.model_json_schema()` is the same as a JSON Schema.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, model_validator

from ...engines.admission.base import Preemption
from ...engines.batching.inflight import Chunking
from ...engines.errors import ConfigError, MissingError
from ...engines.kv.contiguous import ArenaKind, Reservation

# Bounds that keep a slip of the pen from filling the machine's memory.
_Tokens = Annotated[int, Field(ge=1, le=1_000_000)]
_Units = Annotated[int, Field(ge=1, le=10_000_000)]
_Step = Annotated[int, Field(ge=0, le=1_000_000_000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)


def _or_a_name(schema: dict[str, Any]) -> None:
    """A preset's name alone stands for an engine without changes."""
    whole = dict(schema)
    schema.clear()
    schema["anyOf"] = [{"type": "string", "description": "A preset's name."}, whole]


class EngineChoice(_Part):
    """A preset and what is changed of it, as in `llmbench run`; null keeps the preset's choice."""

    model_config = ConfigDict(json_schema_extra=_or_a_name)

    preset: str = Field(default="paged", description="A name that `llmbench engines` lists.")
    batching: Literal["separate", "mixed", "static"] | None = Field(
        default=None, description="What may share one step."
    )
    admission: Literal["optimistic", "reserve"] | None = Field(
        default=None, description="Who may start, and whether anyone is ever preempted."
    )
    kv: Literal["paged", "contiguous"] | None = Field(
        default=None, description="Where tokens live."
    )
    mixing: Literal["unified", "inflight", "sarathi"] | None = Field(
        default=None, description="Whose way of mixing, where batching is mixed."
    )
    chunked_prefill: bool | None = Field(
        default=None,
        description="Mixing unified or inflight: whether a prompt may be split over steps.",
    )
    chunking: Chunking | None = Field(
        default=None,
        description="Mixing inflight: the budget goes to the oldest context first, or in equal "
        "parts.",
    )
    chunk_unit: int | None = Field(
        default=None, description="Mixing inflight: tokens that a cut chunk is a multiple of."
    )
    long_prefill_tokens: int | None = Field(
        default=None,
        description="Mixing unified or inflight: the most tokens of one prompt in a step; 0: no "
        "such limit.",
    )
    whole_prompt_fits: bool | None = Field(
        default=None,
        description="Mixing unified: whether a request starts only where all its prompt would fit "
        "at once.",
    )
    delay_factor: float | None = Field(
        default=None,
        description="Batching separate: how many prompt-step latencies to wait for more prompts.",
    )
    watermark: float | None = Field(
        default=None,
        description="Admission optimistic, KV paged: share of the blocks kept free when a request "
        "starts.",
    )
    preemption: Preemption | None = Field(
        default=None,
        description="Admission optimistic, KV paged: what becomes of who must make room; auto "
        "swaps samples of one request only.",
    )
    prefix_cache: bool | None = Field(
        default=None, description="KV paged: whether requests with equal prefixes share blocks."
    )
    kv_reservation: Reservation | None = Field(
        default=None, description="KV contiguous: what is set aside for a request."
    )
    arena: ArenaKind | None = Field(
        default=None, description="KV contiguous: the allocator under it."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_a_name(cls, value: object) -> object:
        return {"preset": value} if isinstance(value, str) else value


class ScenarioLimits(_Part):
    """The budgets of one step."""

    max_num_seqs: int | None = Field(
        default=None,
        ge=1,
        description="Sequences that may run at a time. Default: the preset's, usually 256, or "
        "max_num_batched_tokens where that is less.",
    )
    max_num_batched_tokens: int | None = Field(
        default=None,
        ge=1,
        description="Tokens a step may compute. Default: the preset's, usually 2048, or "
        "max_model_len where that is more, up to 8192 where prompts may be cut.",
    )
    max_model_len: int | None = Field(
        default=None,
        ge=1,
        description="Tokens a request may reach, prompt and output. Default: what the longest "
        "request of the scenario reaches.",
    )


class ScenarioRequest(_Part):
    """One request: lengths instead of text."""

    id: str = Field(
        pattern=r"^[\w.:/-]+$", max_length=32, description="Letters, digits and . : / - _"
    )
    prompt_tokens: _Tokens
    output_tokens: _Tokens = Field(description="It always produces that many.")
    arrival_step: _Step = Field(default=0, description="It comes just before this step.")
    shared_prefix_tokens: int = Field(
        default=0,
        ge=0,
        description="Tokens at the front of the prompt that are the same in all requests of one "
        "shared_prefix.",
    )
    shared_prefix: str = Field(default="", description="Which prefix, where there are several.")
    n: int = Field(default=1, ge=1, le=1024, description="Samples of the one prompt.")
    priority: int = Field(default=0, description="Lower goes first and makes room last.")
    abort_step: _Step | None = Field(
        default=None, description="It is taken back just before this step."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.shared_prefix_tokens > self.prompt_tokens:
            raise ConfigError(
                "shared_prefix_tokens",
                self.shared_prefix_tokens,
                f"at most prompt_tokens ({self.prompt_tokens})",
            )
        if self.abort_step is not None and self.abort_step <= self.arrival_step:
            raise ConfigError(
                "abort_step", self.abort_step, f"more than arrival_step ({self.arrival_step})"
            )
        return self


class Scenario(_Part):
    """A few requests, a pool and an engine: all that decides a schedule."""

    about: str = Field(default="", description="What it shows; printed above the schedule.")
    engine: EngineChoice = Field(
        default=EngineChoice(), description="A preset's name, or a preset with changes."
    )
    block_size: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Tokens a KV block. Default: the preset's."
    )
    pool_blocks: _Units | None = Field(
        default=None, description="The KV pool in blocks; or give pool_tokens."
    )
    pool_tokens: _Units | None = Field(
        default=None, description="The KV pool in tokens; a paged cache uses whole blocks of it."
    )
    host_blocks: int = Field(
        default=0,
        ge=0,
        le=10_000_000,
        description="Room on the host for who is swapped out, in blocks.",
    )
    limits: ScenarioLimits = Field(default=ScenarioLimits(), description="What bounds a step.")
    step_s: PositiveFloat = Field(
        default=1.0, description="Seconds a step takes; delay_factor is measured in them."
    )
    prompt_step_s: PositiveFloat | None = Field(
        default=None, description="Seconds a step takes that computes prompts. Default: step_s."
    )
    max_steps: int = Field(
        default=10_000, ge=1, le=1_000_000, description="Stop after so many steps."
    )
    requests: tuple[ScenarioRequest, ...] = Field(min_length=1, strict=False)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pool_blocks is None and self.pool_tokens is None:
            raise MissingError("pool_blocks", "the size of the pool, here or as pool_tokens")
        if self.pool_blocks is not None and self.pool_tokens is not None:
            raise ConfigError("pool_tokens", self.pool_tokens, "nothing beside pool_blocks")
        times = Counter(request.id for request in self.requests)
        for index, request in enumerate(self.requests):
            if times[request.id] > 1:
                raise ConfigError(f"requests[{index}].id", request.id, "an id that is used once")
        return self
