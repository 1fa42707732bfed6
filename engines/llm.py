"""The Python API: a model, an engine, prompts in, text out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral

from .api import (
    Engine,
    FinishReason,
    Request,
    SamplingParams,
    TokenEvent,
    TokenLogprobs,
    as_token_ids,
)
from .assemble import build_engine, load_model
from .clock import WallClock
from .config import EngineConfig, engine_config
from .errors import ConfigError, RefusedError
from .models.catalogue import resolve_dummy, resolve_model
from .models.tokenizer import load_tokenizer, tokenizer_or_bytes
from .resolve import resolve
from .stopping import cut_at_stop

Prompt = str | Sequence[int]
"""Text, or token ids."""


@dataclass(frozen=True)
class Sample:
    """One continuation of a prompt.

    token_ids: every token produced. text: theirs without special tokens, cut before the first
    stop string. finish_reason: `stop` or `length`. logprobs: one a token, where asked for.
    """

    token_ids: tuple[int, ...]
    text: str
    finish_reason: FinishReason
    logprobs: tuple[TokenLogprobs, ...] | None = None


@dataclass(frozen=True)
class Output:
    """What one prompt became: `n` samples. What is read of the output itself is the first's."""

    prompt_token_ids: tuple[int, ...]
    samples: tuple[Sample, ...]

    @property
    def token_ids(self) -> tuple[int, ...]:
        return self.samples[0].token_ids

    @property
    def text(self) -> str:
        return self.samples[0].text

    @property
    def finish_reason(self) -> FinishReason:
        return self.samples[0].finish_reason

    @property
    def logprobs(self) -> tuple[TokenLogprobs, ...] | None:
        return self.samples[0].logprobs


@dataclass
class _Choice:
    """A sample while it grows."""

    token_ids: list[int] = field(default_factory=list)
    logprobs: list[TokenLogprobs] = field(default_factory=list)
    finish: FinishReason | None = None

    def take(self, event: TokenEvent) -> None:
        if event.token_id is not None:
            self.token_ids.append(event.token_id)
        if event.logprobs is not None:
            self.logprobs.append(event.logprobs)
        if event.finish is not None:
            self.finish = event.finish


class LLM:
    """A loaded model behind one engine.

    model: a catalogue name (`llmbench models`), a Hugging Face directory or hub id.
    engine, quant and overrides: as on the command line, see `engine_config`.
    loaded: the model itself, for those who score texts.

    >>> llm = LLM("smollm2-135m", engine="paged", quant="awq")       # doctest: +SKIP
    >>> llm.generate(["The capital of France is"])[0].text           # doctest: +SKIP
    """

    def __init__(
        self, model: str = "bundled", *, engine: str = "paged", quant: str = "auto", **overrides
    ) -> None:
        self._open(model, engine_config(engine, quant=quant, **overrides))

    @classmethod
    def from_config(cls, model: str, settings: EngineConfig) -> LLM:
        """From settings that are made already."""
        llm = cls.__new__(cls)
        llm._open(model, settings)
        return llm

    def _open(self, model: str, settings: EngineConfig) -> None:
        dummy = settings.load_format == "dummy"
        files = resolve_dummy(model) if dummy else resolve_model(model)
        self.config = resolve(settings, files)
        load = tokenizer_or_bytes if dummy else load_tokenizer
        self.tokenizer = load(files.directory)
        self.loaded = load_model(files, self.config)
        self._vocab_size = self.loaded.config.vocab_size
        self._engine: Engine = build_engine(
            self.loaded, self.config, WallClock(), self.tokenizer.decode
        )
        self._served = 0

    def generate(
        self,
        prompts: Prompt | Sequence[Prompt],
        sampling: SamplingParams | Sequence[SamplingParams] = SamplingParams(),  # noqa: B008
    ) -> list[Output]:
        """Continue each prompt, text or token ids, together in one engine; outputs in order.

        sampling: one for all, or one a prompt. Raises ConfigError for a prompt that cannot be
        served; nothing of the call stays behind then.
        """
        batch = _as_batch(prompts)
        params = [sampling] * len(batch) if isinstance(sampling, SamplingParams) else list(sampling)
        if len(params) != len(batch):
            raise ConfigError("sampling", len(params), f"one, or one a prompt ({len(batch)})")
        requests = [self._request(prompt, how) for prompt, how in zip(batch, params, strict=True)]
        return self._serve(requests)

    def _request(self, prompt: Prompt, sampling: SamplingParams) -> Request:
        ids = self.tokenizer.encode(prompt) if isinstance(prompt, str) else prompt
        token_ids = as_token_ids(ids)
        size = self._vocab_size
        if outside := [token for token in token_ids if not 0 <= token < size]:
            raise ConfigError("prompt", outside[0], f"token ids from 0 to {size - 1}")
        most = self.config.max_num_seqs
        if sampling.n > most:
            raise ConfigError("n", sampling.n, f"at most max_num_seqs ({most})")
        self._served += 1
        return Request(str(self._served), token_ids, sampling)

    def _serve(self, requests: Sequence[Request]) -> list[Output]:
        choices = {
            request.request_id: [_Choice() for _ in range(request.sampling.n)]
            for request in requests
        }
        added: list[str] = []
        try:
            for request in requests:
                self._engine.add(request)
                added.append(request.request_id)
            while self._engine.has_work():
                for event in self._engine.step().events:
                    if event.finish is FinishReason.REFUSED:
                        raise RefusedError("prompt", event.detail)
                    if event.finish is FinishReason.ERROR:
                        raise RuntimeError(f"request {event.request_id} failed: {event.detail}")
                    choices[event.request_id][event.choice].take(event)
        finally:
            for request_id in added:
                self._engine.abort(request_id)
        return [
            Output(
                tuple(request.prompt_token_ids),
                tuple(self._sample(choice, request) for choice in choices[request.request_id]),
            )
            for request in requests
        ]

    def _sample(self, choice: _Choice, request: Request) -> Sample:
        sampling = request.sampling
        if choice.finish is None:
            raise RuntimeError(f"the engine stopped before request {request.request_id} ended")
        return Sample(
            tuple(choice.token_ids),
            cut_at_stop(self.tokenizer.decode(choice.token_ids), sampling.stop),
            choice.finish,
            None if sampling.logprobs is None else tuple(choice.logprobs),
        )


def _as_batch(prompts: Prompt | Sequence[Prompt]) -> list[Prompt]:
    """A text is one prompt, and so is a sequence of numbers; anything else is many."""
    if isinstance(prompts, str):
        return [prompts]
    ids = [int(prompt) for prompt in prompts if isinstance(prompt, Integral)]
    texts = [prompt for prompt in prompts if not isinstance(prompt, int | Integral)]
    if ids and texts:
        raise ConfigError("prompts", "a mixture", "token ids of one prompt, or whole prompts")
    return [ids] if ids else texts
