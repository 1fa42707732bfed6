"""How long replies are: exactly as asked, or no longer than that where the model ends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..result import Check
from ..run.record import RequestRecord, counted_as
from ..run.validity import counted_check, served_of

# What servers call an end that is the model's own. `length` before the length that was asked for is
# a limit of the server's, and a reply that a filter cut is none of the model's.
_ENDED_BY_MODEL = frozenset(("stop", "eos_token", "stop_sequence", "tool_calls", "function_call"))


def check_output_lengths(
    requests: Sequence[RequestRecord], output_tokens: Mapping[str, int], *, may_end_early: bool
) -> Check:
    """Replies of another length are another workload. What was counted is what the server says,
    and where it also returned ids there must be one for each. output_tokens: planned, by request
    id."""
    served = served_of(requests)
    if may_end_early:
        wrong = [one for one in served if _is_not_allowed(one, output_tokens[one.request_id])]
        detail = _told_early(served, wrong, output_tokens)
    else:
        wrong = [
            one
            for one in served
            if one.output_tokens != output_tokens[one.request_id] or _ids_disagree(one)
        ]
        detail = _told_exact(served, wrong, output_tokens)
    return counted_check("token_counts", len(wrong), detail)


def ended_early(
    requests: Sequence[RequestRecord], output_tokens: Mapping[str, int]
) -> Sequence[RequestRecord]:
    """The served ones that have fewer tokens than were asked for."""
    return [one for one in served_of(requests) if one.output_tokens < output_tokens[one.request_id]]


def _is_not_allowed(one: RequestRecord, asked: int) -> bool:
    is_early = one.output_tokens < asked
    is_cut = is_early and one.finish_reason not in _ENDED_BY_MODEL
    return one.output_tokens > asked or is_cut or _ids_disagree(one)


def _ids_disagree(one: RequestRecord) -> bool:
    return bool(len(one.output_token_ids)) and len(one.output_token_ids) != one.output_tokens


def _told_exact(
    served: Sequence[RequestRecord],
    wrong: Sequence[RequestRecord],
    output_tokens: Mapping[str, int],
) -> str:
    if not wrong:
        return (
            f"the server says of all {len(served)} served {counted_as(served)} what was asked for"
        )
    first = wrong[0]
    return (
        f"{len(wrong)} of {len(served)} served {counted_as(served)} produced another number of "
        f"tokens than asked: {first.request_id} {first.output_tokens}, not "
        f"{output_tokens[first.request_id]}; is the end of text ignored (--server, --extra)? "
        "--output-lengths at-most lets a model end its replies"
    )


def _told_early(
    served: Sequence[RequestRecord],
    wrong: Sequence[RequestRecord],
    output_tokens: Mapping[str, int],
) -> str:
    if not wrong:
        asked = sum(output_tokens[one.request_id] for one in served)
        came = sum(one.output_tokens for one in served)
        return (
            f"{len(ended_early(served, output_tokens))} of {len(served)} served replies ended "
            f"early, as they may: {came} of the {asked} tokens asked for came"
        )
    first = wrong[0]
    why = f"finish_reason {first.finish_reason or 'not said'}"
    return (
        f"{len(wrong)} of {len(served)} served replies were longer than asked, or cut short by "
        f"other than the model: {first.request_id} {first.output_tokens} of "
        f"{output_tokens[first.request_id]} tokens, {why}"
    )
