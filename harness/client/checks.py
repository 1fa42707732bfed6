"""Whether a run against a server can be believed: the checks of `validity.py` that need no trace,
and those that only a client over HTTP needs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..machine.throttling import Throttled, check_throttling
from ..result import Check, ClientLoad, Validity, Window
from ..run.lateness import check_rate
from ..run.record import ONLY_IN_SUM, RequestRecord, RequestStatus, counted_as
from ..run.replies import check_held_back
from ..run.validity import (
    LITTLE_ERROR,
    Asked,
    check_complete,
    check_errors,
    check_steady,
    check_tail,
    counted_check,
    passed,
    served_of,
)
from ..run.warm_cache import WARM_SHARE, Prompt, warm_tokens
from .config import PrefixCache
from .lag import check_client, check_paces, check_send_lag
from .lengths import check_output_lengths
from .tls import Trust

# Prompts sent as text may come out this much longer or shorter than planned, in sum.
TEXT_ERROR = 0.05
# Little's law compares counts at instants; half a request more or less is no evidence.
LITTLE_REQUESTS = 0.5


@dataclass(frozen=True)
class AskedOfServer:
    """What the plan asked, and what the server was told.

    input_tokens: planned, by request id. endpoint, prompt_as: as in `ClientConfig`. prefix_cache:
    what was asked of it, and `told` whether this server can be told so. trust: whose certificates
    were believed; None without TLS. may_end_early: whether replies may be shorter than planned.
    """

    plan: Asked
    input_tokens: Mapping[str, int]
    endpoint: str
    prompt_as: str
    prefix_cache: PrefixCache
    told: bool
    trust: Trust | None = None
    may_end_early: bool = False


def assess_replies(
    requests: Sequence[RequestRecord],
    window: Window,
    asked: AskedOfServer,
    client: ClientLoad,
    in_flight_s: float | None,
    *,
    interrupted: bool,
    failure: str,
    throttled: Throttled,
) -> Validity:
    """Every check. in_flight_s: requests on their way, as counted beside the records, times the
    seconds they were; None where they were counted too seldom. throttled: the client's machine,
    meanwhile."""
    plan = asked.plan
    duration_s = max((one.t_end_s for one in requests if one.t_end_s is not None), default=0.0)
    checks = (
        check_complete(
            requests, interrupted=interrupted, unsent=plan.unsent(requests), failure=failure
        ),
        check_errors(requests),
        check_output_lengths(requests, plan.output_tokens, may_end_early=asked.may_end_early),
        check_input_counts(requests, asked),
        check_gaps(requests),
        check_hidden(requests),
        check_held_back(requests),
        check_prefix_cache(requests, asked),
        *(() if asked.trust is None else (check_certificate(asked.trust),)),
        check_send_lag(requests, plan),
        check_client(requests, client),
        *check_paces(requests, client),
        check_rate(requests, [0.0] * len(requests), on_schedule=plan.sends_on_schedule),
        check_in_flight(requests, in_flight_s),
        check_throttling(throttled, duration_s),
        check_steady(window, requests, open_loop=plan.open_loop),
        check_tail(requests),
    )
    return Validity.of(checks)


def check_input_counts(requests: Sequence[RequestRecord], asked: AskedOfServer) -> Check:
    """Prompts of another length are another workload. Token ids must arrive as sent; text may be
    cut into tokens differently, a little; a chat's template adds what it adds, and is reported."""
    served = served_of(requests)
    planned = sum(asked.input_tokens[one.request_id] for one in served)
    counted = sum(one.input_tokens for one in served)
    wrong = sum(one.input_tokens != asked.input_tokens[one.request_id] for one in served)
    detail = (
        f"{wrong} of {len(served)} prompts have another number of tokens at the server: {counted} "
        f"in all, {planned} planned"
    )
    if not wrong:
        return passed("input_counts", f"all {len(served)} prompts have their planned tokens")
    if asked.prompt_as == "ids":
        return counted_check("input_counts", wrong, detail)
    error = abs(counted / planned - 1) if planned else 0.0
    is_chat = asked.endpoint == "chat"
    return Check(
        id="input_counts",
        ok=not is_chat and error <= TEXT_ERROR,
        fatal=not is_chat,
        value=error,
        limit=TEXT_ERROR,
        detail=f"{detail}, for they were sent as {'a chat' if is_chat else 'text'}",
    )


def check_gaps(requests: Sequence[RequestRecord]) -> Check:
    """A chunk is not a token: where a server tells only a reply's total, its ITL is not known."""
    served = served_of(requests)
    unknown = sum(one.counted in ONLY_IN_SUM for one in served)
    split = sum(one.counted == "split" for one in served)
    detail = f"the tokens of each chunk are known of all {len(served)} served {counted_as(served)}"
    if unknown:
        joined = f"{unknown - split} in chunks of several tokens" if unknown > split else ""
        parted = f"{split} in more chunks than tokens" if split else ""
        detail = (
            f"{unknown} of {len(served)} replies told their tokens only in sum: they have ICL and "
            f"no ITL ({', '.join(filter(None, (joined, parted)))})"
        )
    return Check(
        id="token_gaps", ok=not unknown, fatal=False, value=float(unknown), limit=0.0, detail=detail
    )


def check_hidden(requests: Sequence[RequestRecord]) -> Check:
    """Thoughts that a server counts and does not send were made before the first token that is
    seen: TTFT waits for them, however long the prompt."""
    served = served_of(requests)
    hidden = sum(one.hidden_tokens for one in served)
    if not hidden:
        return passed("hidden_tokens", "the server tells of no token that it did not send")
    return Check(
        id="hidden_tokens",
        ok=False,
        fatal=False,
        value=hidden / sum(one.output_tokens for one in served),
        limit=0.0,
        detail=f"{hidden} of {sum(one.output_tokens for one in served)} output tokens are thoughts "
        "that were never sent: TTFT is of the first token that was, TPOT of those after it",
    )


def check_certificate(trust: Trust) -> Check:
    """With --insecure nobody knows who was measured."""
    detail = "the server's certificate was verified"
    if not trust.verify:
        detail = "nobody verified the server's certificate (--insecure): another may have answered"
    return Check(id="certificate", ok=trust.verify, fatal=False, detail=detail)


def check_prefix_cache(requests: Sequence[RequestRecord], asked: AskedOfServer) -> Check:
    """The same seed sent twice finds its own prompts in a warm cache, and looks fast."""
    served = served_of(requests)
    prompts = asked.plan.prompts
    if prompts is not None and any(one.cached_tokens is not None for one in served):
        return _check_found(served, prompts, asked)
    if asked.told and asked.prefix_cache != "server":
        return passed(
            "prefix_cache", f"the server was told to reuse nothing ({asked.prefix_cache})"
        )
    return Check(
        id="prefix_cache",
        ok=False,
        fatal=False,
        detail="nothing is known of the server's prefix cache: it may be warm with prompts of an "
        "earlier run of this seed; turn it off there, or use another --seed each time",
    )


def _check_found(
    served: Sequence[RequestRecord], prompts: Mapping[str, Prompt], asked: AskedOfServer
) -> Check:
    """By what the server says that it found, of the tokens that were planned.

    Whoever tells of hits may leave them out where there are none. What a chat's template, or a
    token in front of a text, adds to a prompt begins every other prompt, too, and may be found.
    """
    found = {
        one.request_id: max(0, (one.cached_tokens or 0) - _added(one, asked)) for one in served
    }
    warm, total = warm_tokens(found, prompts), sum(one.input_tokens for one in served)
    hits = sum(one.cached_tokens or 0 for one in served)
    told = f"the server found {hits} of {total} prompt tokens in its prefix cache"
    if warm:
        told += f", {warm} of them in no other prompt of the run: it was warm before"
    return Check(
        id="prefix_cache",
        ok=warm <= WARM_SHARE * total or asked.prefix_cache == "server",
        fatal=True,
        value=warm / total if total else 0.0,
        limit=WARM_SHARE,
        detail=told,
    )


def _added(one: RequestRecord, asked: AskedOfServer) -> int:
    """Tokens that the server put around a prompt that was sent as text."""
    if asked.prompt_as == "ids":
        return 0
    return max(0, one.input_tokens - asked.input_tokens[one.request_id])


def check_in_flight(requests: Sequence[RequestRecord], in_flight_s: float | None) -> Check:
    """Mean in flight = throughput x mean time in flight (Little, Operations Research 9, 1961).

    The left side is counted every 10 ms, beside the records; the right side is the records'.
    """
    served = served_of(requests)
    if in_flight_s is None or len(served) != len(requests) or not served:
        return passed("littles_law", "not compared: too short, or not every stay is known")
    begins_s = min(one.t_send_s for one in served)
    ends_s = max(one.t_end_s or 0.0 for one in served)
    stayed_s = sum((one.t_end_s or 0.0) - one.t_send_s for one in served)
    duration_s = ends_s - begins_s
    if duration_s <= 0 or stayed_s <= 0:
        return passed("littles_law", "not compared: no time passed")
    in_flight, expected = in_flight_s / duration_s, stayed_s / duration_s
    error = abs(in_flight / expected - 1)
    return Check(
        id="littles_law",
        ok=error <= LITTLE_ERROR or abs(in_flight - expected) <= LITTLE_REQUESTS,
        fatal=True,
        value=error,
        limit=LITTLE_ERROR,
        detail=f"{in_flight:.2f} in flight on average by the client's count; throughput × mean "
        f"stay gives {expected:.2f}",
    )


def errors_by_label(requests: Sequence[RequestRecord]) -> dict[str, int]:
    """Failed requests by label, the most frequent first."""
    labels = Counter(one.error for one in requests if one.status is RequestStatus.FAILED)
    return dict(labels.most_common())
