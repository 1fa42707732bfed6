"""How each server is told to produce exactly N tokens, to say how many it has produced, and not to
use what an earlier run left in its prefix cache.

Read off the servers' own request models: vLLM, SGLang and our own salt the cache's keys
(`cache_salt`), so a salt a run shares nothing with runs before it; llama.cpp can be told to look
nothing up; TensorRT-LLM takes a salt of chats (its pull request 7106), and where it completes
prompts refuses that as a field it does not know. A server that is not in the table is sent OpenAI's
own fields alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Server:
    """One row. owners: what `/v1/models` may call its maker.

    exact: fields that make it ignore the end of text. min_tokens: whether `min_tokens` works, too.
    counting: fields by which every chunk says how many tokens there are; stream_options: the same,
    inside that field. salted: endpoints at which `cache_salt` parts the prefix cache. uncached:
    fields that turn it off for a request.
    """

    name: str
    owners: tuple[str, ...] = ()
    exact: Mapping[str, Any] = field(default_factory=dict)
    min_tokens: bool = False
    counting: Mapping[str, Any] = field(default_factory=dict)
    stream_options: Mapping[str, Any] = field(default_factory=dict)
    salted: tuple[str, ...] = ()
    uncached: Mapping[str, Any] = field(default_factory=dict)

    def forgets(self, endpoint: str) -> bool:
        """Whether it can be told to reuse nothing."""
        return endpoint in self.salted or bool(self.uncached)


_EVERYWHERE = ("completions", "chat")
_CONTINUOUS = {"continuous_usage_stats": True}
OTHER = Server("openai")
AUTO = "auto"
SERVERS: Mapping[str, Server] = {
    one.name: one
    for one in (
        Server(
            "vllm",
            ("vllm",),
            {"ignore_eos": True},
            min_tokens=True,
            stream_options=_CONTINUOUS,
            salted=_EVERYWHERE,
        ),
        Server(
            "sglang",
            ("sglang",),
            {"ignore_eos": True},
            min_tokens=True,
            stream_options=_CONTINUOUS,
            salted=_EVERYWHERE,
        ),
        Server(
            "llama.cpp",
            ("llamacpp", "llama.cpp"),
            {"ignore_eos": True},
            counting={"timings_per_token": True},
            uncached={"cache_prompt": False},
        ),
        Server(
            "tensorrt-llm",
            ("tensorrt_llm",),
            {"ignore_eos": True},
            min_tokens=True,
            stream_options=_CONTINUOUS,
            salted=("chat",),
        ),
        Server(
            "llmbench",
            ("llmbench",),
            {"ignore_eos": True},
            stream_options=_CONTINUOUS,
            salted=_EVERYWHERE,
        ),
        Server("mock", ("llmbench-mock",), {"ignore_eos": True}, stream_options=_CONTINUOUS),
        OTHER,
    )
}


SERVER_NAMES = (AUTO, *SERVERS)


def find_server(name: str, owner: str) -> Server:
    """The row of that name, one of SERVER_NAMES; `auto`: of the maker that the server names, or no
    row at all."""
    if name == AUTO:
        return next((one for one in SERVERS.values() if owner.lower() in one.owners), OTHER)
    return SERVERS[name]
