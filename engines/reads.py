"""Which settings an engine reads: what each asks of the others to mean anything."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_MIXED = ("batching", ("mixed",))
_CUT = ("mixing", ("unified", "inflight"))
_IN_FLIGHT = ("mixing", ("inflight",))
_CHUNKED = ("chunked_prefill", (True,))
_OPTIMISTIC = ("admission", ("optimistic",))
_PAGED = ("kv", ("paged",))
_CONTIGUOUS = ("kv", ("contiguous",))

# Setting: the values of others under which it is read, all of them. What is not listed always is.
READ_UNDER: Mapping[str, tuple[tuple[str, tuple[object, ...]], ...]] = {
    "delay_factor": (("batching", ("separate",)),),
    "mixing": (_MIXED,),
    # Sarathi's prompts are cut whatever is said: its chunk is what a step has left.
    "chunked_prefill": (_MIXED, _CUT),
    "long_prefill_tokens": (_MIXED, _CUT, _CHUNKED),
    "chunking": (_MIXED, _IN_FLIGHT, _CHUNKED),
    "chunk_unit": (_MIXED, _IN_FLIGHT, _CHUNKED),
    # Where room is made chunk by chunk: a prompt computed whole, a reservation or a run of a
    # contiguous cache takes the room of all of it anyway.
    "whole_prompt_fits": (_MIXED, ("mixing", ("unified",)), _CHUNKED, _OPTIMISTIC, _PAGED),
    "watermark": (_OPTIMISTIC, _PAGED),
    "preemption": (_OPTIMISTIC, _PAGED),
    "swap_memory_bytes": (_OPTIMISTIC, _PAGED, ("preemption", ("swap", "auto"))),
    "block_size": (_PAGED,),
    "prefix_cache": (_PAGED,),
    "kv_reservation": (_CONTIGUOUS,),
    "arena": (_CONTIGUOUS,),
}
# A value that is another one by a second name but under these: where samples make room one by one,
# `auto` finds no group to swap and recomputes, which vLLM v1 and TensorRT-LLM always do.
_VALUES: Mapping[str, tuple[object, tuple[str, tuple[object, ...]]]] = {
    "preemption": ("auto", ("batching", ("separate",))),
}


def why_unread(name: str, settings: Mapping[str, Any]) -> str:
    """What keeps a setting from being read, as `with reserve admission`; empty where it is read.
    settings: of an engine, by name; what is not among them keeps nothing from being read."""
    for other, values in READ_UNDER.get(name, ()):
        if other in settings and settings[other] not in values:
            return _said(other, settings[other])
    if name in _VALUES:
        value, (other, values) = _VALUES[name]
        if settings.get(name) == value and other in settings and settings[other] not in values:
            return f"{_said(other, settings[other])}, where samples make room one by one"
    return ""


def _said(name: str, value: object) -> str:
    match name, value:
        case "kv", "contiguous":
            return "with a contiguous KV cache, which has no blocks"
        case "kv", _:
            return f"with a {value} KV cache"
        case "admission", "reserve":
            return "with reserve admission, which never preempts"
        case "chunked_prefill", _:
            return "without chunked prefill"
        case _:
            return f"with {value} {name}"
