"""From the times at which tokens came to tokens a second."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from .workload import Figure, Job


class NotAsAskedError(Exception):
    """An engine that did not compute what it was asked to: its times would mean nothing."""


@dataclass(frozen=True)
class RequestTimes:
    """One request as its sender saw it.

    sent_s: when it was handed over. prompt_tokens: as the engine counted them.
    token_times_s: when each output token came. Seconds on the sender's clock.
    """

    sent_s: float
    prompt_tokens: int
    token_times_s: tuple[float, ...]

    @property
    def ttft_s(self) -> float:
        """Time to first token; waiting for a place among those that run counts."""
        return self.token_times_s[0] - self.sent_s

    @property
    def tpot_s(self) -> float:
        """Mean time of an output token after the first; at least two tokens."""
        first, last = self.token_times_s[0], self.token_times_s[-1]
        return (last - first) / (len(self.token_times_s) - 1)


def check_served(job: Job, times: Sequence[RequestTimes]) -> None:
    """Raises NotAsAskedError unless every prompt and every output had its asked length."""
    if len(times) != len(job.prompts):
        raise NotAsAskedError(f"{len(times)} answers to {len(job.prompts)} requests")
    for prompt, one in zip(job.prompts, times, strict=True):
        if one.prompt_tokens != len(prompt):
            raise NotAsAskedError(
                f"{one.prompt_tokens} prompt tokens counted of {len(prompt)} sent"
            )
        if len(one.token_times_s) != job.output_tokens:
            raise NotAsAskedError(
                f"{len(one.token_times_s)} output tokens of {job.output_tokens} asked for"
            )


def figures_of(job: Job, times: Sequence[RequestTimes]) -> dict[str, float]:
    """The figure of a job, and of the whole workload mean TTFT and TPOT beside it.

    Raises NotAsAskedError: see `check_served`.
    """
    check_served(job, times)
    match job.figure:
        case None:
            return {}
        case Figure.PREFILL_512 | Figure.PREFILL_32X128:
            return {job.figure: prefill_tokens_per_s(job, times)}
        case Figure.DECODE_1 | Figure.DECODE_8:
            return {job.figure: decode_tokens_per_s(times)}
        case Figure.OUTPUT:
            return {
                job.figure: output_tokens_per_s(times),
                "ttft_mean_s": fmean(one.ttft_s for one in times),
                "tpot_mean_s": fmean(one.tpot_s for one in times),
            }


def prefill_tokens_per_s(job: Job, times: Sequence[RequestTimes]) -> float:
    """Prompt tokens over the time from the first request sent to the last first token."""
    start_s = min(one.sent_s for one in times)
    return job.prompt_tokens / (max(one.token_times_s[0] for one in times) - start_s)


def output_tokens_per_s(times: Sequence[RequestTimes]) -> float:
    """Output tokens over the time from the first request sent to the last token."""
    start_s = min(one.sent_s for one in times)
    tokens = sum(len(one.token_times_s) for one in times)
    return tokens / (max(one.token_times_s[-1] for one in times) - start_s)


def decode_tokens_per_s(times: Sequence[RequestTimes]) -> float:
    """The rate while all requests decode together: the sum of each one's own rate.

    From when the last request has its first token to when the first has its last, so prompts that
    are computed one after another do not count. A rate is (k - 1) tokens over the time between the
    first and the last of k, so it does not matter in which order the tokens of a step arrive.
    Raises NotAsAskedError where the requests never decoded all together for two steps.
    """
    start_s = max(one.token_times_s[0] for one in times)
    end_s = min(one.token_times_s[-1] for one in times)
    rate = 0.0
    for one in times:
        inside = [time_s for time_s in one.token_times_s if start_s <= time_s <= end_s]
        if len(inside) < 2 or inside[-1] == inside[0]:
            raise NotAsAskedError("the requests of a decode job did not decode together")
        rate += (len(inside) - 1) / (inside[-1] - inside[0])
    return rate
