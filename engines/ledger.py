"""Every live sequence: its queue, its room in the cache, and how it ends.

The two step loops (`core.py`, `pipeline.py`) differ in when a step is computed and when its tokens
are read. What becomes of a request does not, and stands here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .api import FinishReason, Request, TokenEvent
from .batching.base import Planning
from .errors import ConfigError
from .state import Queues, RequestState
from .step import Limits, Refusal, StepPlan
from .stopping import Decode, TextTail, finish_reason
from .strategy import Strategy
from .trace import KVUsage

NO_DISTRIBUTION = "the model's logits give no probability distribution: NaN or infinity"


class Ledger:
    """queues: who stands where; the policies read and change them."""

    def __init__(
        self, strategy: Strategy, eos_token_ids: tuple[int, ...] = (), decode: Decode | None = None
    ) -> None:
        """decode: token ids to text; without it, requests with stop strings are refused."""
        self.queues = Queues()
        self._strategy = strategy
        self._eos = frozenset(eos_token_ids)
        self._decode = decode
        # The sequences of each request; one until its samples are told apart.
        self._live: dict[str, list[RequestState]] = {}
        # Of these, who stands in no queue any more: the last token, or a refusal, is on its way.
        self._departed: set[RequestState] = set()
        # New samples whose keys and values the next step moves into place.
        self._arriving: list[RequestState] = []

    @property
    def is_empty(self) -> bool:
        return not self._live

    def is_live(self, state: RequestState) -> bool:
        return state in self._live.get(state.request.request_id, ())

    def add(self, request: Request) -> None:
        """Queue a request. Raises ConfigError as `api.Engine.add` does."""
        _check_request(request, self._strategy.limits)
        if request.request_id in self._live:
            raise ConfigError("request_id", request.request_id, "an id no live request has")
        state = RequestState(request, self._text_tail(request))
        self._live[request.request_id] = [state]
        self.queues.add(state)

    def abort(self, request_id: str) -> None:
        for state in self._live.pop(request_id, ()):
            self._remove(state)

    def plan(self, now_s: float) -> StepPlan:
        """The next step. Whoever it refuses has departed."""
        strategy, queues = self._strategy, self.queues
        plan = strategy.batching.plan(
            Planning(queues, strategy.kv, strategy.admission, strategy.limits, now_s)
        )
        if plan.is_empty:
            # With requests alive this would go on for ever; no policy may return it.
            raise RuntimeError(
                f"no step to compute for {len(queues.waiting)} waiting, {len(queues.running)} "
                f"running and {len(queues.swapped)} swapped requests"
            )
        self._departed.update(refusal.request for refusal in plan.refused)
        return plan

    def fork(self, parent: RequestState) -> list[RequestState]:
        """The samples of a request whose prompt is done, each a sequence of its own."""
        children = [parent.fork(choice) for choice in range(1, parent.samples)]
        self.queues.fork(parent, children)
        parent.samples = 1
        for child in children:
            if self._strategy.kv.fork(parent, child):
                self._arriving.append(child)
        samples = [parent, *children]
        self._live[parent.request.request_id] = samples.copy()
        return samples

    def take_arriving(self) -> list[RequestState]:
        """The new samples that the cache's next moves put into place; forgotten once taken."""
        arriving, self._arriving = self._arriving, []
        return arriving

    def finish_reason(self, sequence: RequestState, token_id: int) -> FinishReason | None:
        """Why the sequence ends with its newest token; None if it goes on."""
        if not sequence.may_stop:
            # Nothing but its length ends it: true of every request of a benchmark.
            return FinishReason.LENGTH if sequence.known_tokens >= sequence.full_tokens else None
        tail = sequence.text_tail
        found = tail is not None and tail.push(token_id)
        sampling, produced = sequence.request.sampling, len(sequence.output_ids)
        return finish_reason(sampling, token_id, produced, self._eos, stop_string=found)

    def depart(self, state: RequestState) -> None:
        """Its last token is known to come: it makes room at once, and lives until `release`."""
        self._remove(state)
        self._departed.add(state)

    def refuse(self, refusals: Iterable[Refusal], time_s: float) -> list[TokenEvent]:
        """End those that can never be served, but for who was taken back meanwhile."""
        events: list[TokenEvent] = []
        for state, reason in refusals:
            if self.is_live(state):
                events += _endings(state, FinishReason.REFUSED, reason, time_s)
        self.release(events)
        return events

    def fail(
        self, touched: Iterable[RequestState], error: Exception, time_s: float
    ) -> tuple[list[TokenEvent], tuple[str, ...]]:
        """End requests of a step that was not computed, or that have no tokens, all their samples;
        which sequences.

        touched: those whose tokens it was to compute, and those whose keys and values were on their
        way, to the host or to a new sample. Who was taken back meanwhile is passed over.
        """
        detail = f"{type(error).__name__}: {error}"
        requests = dict.fromkeys(one.request.request_id for one in touched if self.is_live(one))
        states = [state for name in requests for state in self._live.get(name, ())]
        events: list[TokenEvent] = []
        for state in states:
            # Blocks of the step were to be written; what names they got is not true.
            self._strategy.kv.release(state, computed=False)
            events += _endings(state, FinishReason.ERROR, detail, time_s)
        self.release(events)
        return events, tuple(state.request_id for state in states)

    def fail_alone(
        self, broken: Sequence[RequestState], time_s: float
    ) -> tuple[list[TokenEvent], tuple[str, ...]]:
        """End the requests whose logits gave no token, and nobody else; which sequences.

        All their samples: what these have in common may be what is broken, and a request that lacks
        one has no answer.
        """
        for state in broken:
            for sample in self._live.get(state.request.request_id, ()):
                self._strategy.kv.forget(sample)
        return self.fail(broken, RuntimeError(NO_DISTRIBUTION), time_s)

    def release(self, events: Iterable[TokenEvent]) -> None:
        """Let go of the sequences that ended."""
        for event in events:
            if event.finish is None:
                continue
            states = self._live.get(event.request_id, [])
            for state in states:
                if event.choice == state.choice:
                    states.remove(state)
                    self._remove(state)
                    break
            if not states:
                self._live.pop(event.request_id, None)

    def usage(self) -> KVUsage:
        """Who holds what of the cache now."""
        waiting = self.queues.waiting
        return self._strategy.kv.usage(self.queues.running, waiting[0] if waiting else None)

    def _remove(self, state: RequestState) -> None:
        """Out of its queue, if it still stands in one, and of the cache."""
        if state in self._departed:
            self._departed.remove(state)
        else:
            self.queues.remove(state)
        self._strategy.kv.release(state)

    def _text_tail(self, request: Request) -> TextTail | None:
        stop = request.sampling.stop
        if not stop:
            return None
        if self._decode is None:
            raise ConfigError("stop", stop, "no stop strings: this engine has no tokenizer")
        return TextTail(stop, self._decode)


def _endings(
    state: RequestState, finish: FinishReason, detail: str, time_s: float
) -> list[TokenEvent]:
    """One for each sample the sequence stands for."""
    choices = range(state.choice, state.choice + state.samples)
    name = state.request.request_id
    return [TokenEvent(name, None, time_s, finish, detail, choice) for choice in choices]


def _check_request(request: Request, limits: Limits) -> None:
    prompt = len(request.prompt_token_ids)
    if prompt < 1:
        raise ConfigError("prompt", "", "at least one token")
    total = prompt + request.sampling.max_tokens
    if total > limits.max_model_len:
        raise ConfigError(
            "prompt",
            f"{prompt} tokens and {request.sampling.max_tokens} to generate",
            f"at most max_model_len ({limits.max_model_len}) together",
        )
