"""An engine as lm-eval's model. Imported only where lm-eval is installed.

Scores are the model's own, over one pass of a whole text through a KV cache as the engine's;
generation goes through the engine, all requests together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from lm_eval.api.model import TemplateLM  # pyright: ignore[reportMissingImports]
from lm_eval.utils import (  # pyright: ignore[reportMissingImports]
    get_rolling_token_windows,
    make_disjoint_window,
)

from ...engines.api import SamplingParams
from ...engines.errors import ConfigError
from ...engines.models.dense import dense_logits
from ..quality.measure import WINDOW_TOKENS, log_probabilities

if TYPE_CHECKING:
    from ...engines.llm import LLM

MOST_TOKENS = 256  # of a generation that names no limit, as in lm-eval's own models
# Settings of a task's generation, and what we call them.
_SAMPLING = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repetition_penalty",
    "seed": "seed",
}
_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens")


class EngineLM(TemplateLM):
    """lm-eval's `LM` over a loaded engine. report: told what is done, in one line."""

    def __init__(self, llm: LLM, report: Callable[[str], None]) -> None:
        super().__init__()
        self._llm = llm
        self._report = report
        self.max_length: int = llm.config.max_model_len

    @property
    def eot_token_id(self) -> int:
        """What a text is conditioned on that has nothing before it: the token in front of every
        text, or the one that ends them."""
        prefix = self._llm.tokenizer.prefix_ids
        ends = self._llm.loaded.config.eos_token_ids
        if not prefix and not ends:
            raise ConfigError("model", self._llm.loaded.files.name, "a model with an end token")
        return prefix[0] if prefix else ends[0]

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **_: object
    ) -> list[int]:
        """Token ids; None: with what the model expects in front."""
        special = add_special_tokens is not False
        return self._llm.tokenizer.encode(string, add_special_tokens=special)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **_: object
    ) -> list[tuple[float, bool]]:
        scores: list[tuple[float, bool]] = []
        for at, (_, context, continuation) in enumerate(requests):
            if at % max(1, len(requests) // 10) == 0:
                self._report(f"scoring continuations, {at} of {len(requests)} done")
            scores.append(self._score(context, continuation))
        return scores

    @torch.inference_mode()
    def _score(self, context: Sequence[int], continuation: Sequence[int]) -> tuple[float, bool]:
        """ln p(continuation | context), and whether greedy decoding would give it. What is too
        long for the model loses its beginning."""
        text = [*context, *continuation][-(self.max_length + 1) :]
        scored = min(len(continuation), len(text) - 1)
        logits = dense_logits(self._llm.loaded.model, text[:-1], self._llm.config.kv_dtype)
        targets = torch.tensor(text[-scored:], device=logits.device)
        total, greedy = 0.0, True
        for rows, found in log_probabilities(logits[-scored:]):
            wanted = targets[rows]
            total += float(found.gather(1, wanted[:, None]).double().sum())
            greedy = greedy and bool((found.argmax(-1) == wanted).all())
        return total, greedy

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """ln p of whole texts, each token predicted once, in windows that no context crosses more
        than it must."""
        del disable_tqdm
        self._report(f"scoring {len(requests)} texts")
        return [self._rolling(text) for (text,) in (one.args for one in requests)]

    def _rolling(self, text: str) -> float:
        windows = get_rolling_token_windows(
            token_list=self.tok_encode(text, add_special_tokens=False),
            prefix_token=self.eot_token_id,
            max_seq_len=min(WINDOW_TOKENS, self.max_length),
            context_len=1,
        )
        return sum(self._score(*make_disjoint_window(window))[0] for window in windows)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Texts up to the first stop string. A prompt too long for the model and its answer loses
        its beginning."""
        del disable_tqdm
        self._report(f"generating {len(requests)} answers")
        asked = [(prompt, sampling_of(settings)) for prompt, settings in (r.args for r in requests)]
        prompts = [self._fitting(prompt, how.max_tokens) for prompt, how in asked]
        outputs = self._llm.generate(prompts, [how for _, how in asked])
        return [one.text for one in outputs]

    def _fitting(self, prompt: str, output_tokens: int) -> list[int]:
        room = self.max_length - output_tokens
        if room < 1:
            allowed = f"fewer than the {self.max_length} tokens of the model"
            raise ConfigError("max_gen_toks", output_tokens, allowed)
        return self.tok_encode(prompt)[-room:]


def sampling_of(settings: Mapping[str, Any]) -> SamplingParams:
    """A task's `generation_kwargs` in our words; greedy where it says no temperature. Raises
    ConfigError for a setting that would be ignored."""
    rest = dict(settings)
    until = rest.pop("until", None) or []
    limits = [int(rest.pop(name)) for name in _LIMITS if name in rest]
    sampled = rest.pop("do_sample", True) is not False
    known = {_SAMPLING[name]: rest.pop(name) for name in list(rest) if name in _SAMPLING}
    if rest:
        name, value = next(iter(rest.items()))
        raise ConfigError(f"generation_kwargs.{name}", value, "no such setting")
    if not sampled:
        known = {name: known[name] for name in known if name == "repetition_penalty"}
    return SamplingParams(
        max_tokens=limits[0] if limits else MOST_TOKENS,
        stop=(until,) if isinstance(until, str) else tuple(until),
        **known,
    )
