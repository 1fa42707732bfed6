"""This package's engines, through its library and in a process of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .lines import Loaded, Times, serve

_PACKAGE = Path(__file__).parents[3]


def load(settings: Mapping[str, Any]) -> Loaded:
    import torch

    from ....engines.api import Request, SamplingParams
    from ....engines.assemble import build_engine, load_model
    from ....engines.clock import WallClock
    from ....engines.config import engine_config
    from ....engines.models.catalogue import resolve_model
    from ....engines.resolve import resolve
    from ....kernels.native.register import digests
    from ....kernels.sources import sources_digest
    from ...machine.environment import package_version

    torch.set_num_threads(settings["threads"])
    files = resolve_model(settings["model"])
    config = resolve(engine_config(settings["engine"], **settings["overrides"]), files)
    loaded = load_model(files, config)
    clock = WallClock()
    engine = build_engine(loaded, config, clock)

    def generate(prompts: Sequence[Sequence[int]], output_tokens: int) -> list[Times]:
        sampling = SamplingParams(max_tokens=output_tokens, ignore_eos=True)
        sent_s: list[float] = []
        times_s: list[list[float]] = [[] for _ in prompts]
        for index, prompt in enumerate(prompts):
            sent_s.append(clock.now())
            engine.add(Request(str(index), tuple(prompt), sampling, arrival_s=sent_s[-1]))
        while engine.has_work():
            for event in engine.step().events:
                if event.token_id is None:
                    raise RuntimeError(f"request {event.request_id}: {event.detail}")
                times_s[int(event.request_id)].append(event.time_s)
        return [
            Times(start_s, len(prompt), times)
            for start_s, prompt, times in zip(sent_s, prompts, times_s, strict=True)
        ]

    kernels = ", ".join(f"{op} {name}" for op, name in sorted(loaded.kernels.items()))
    versions = {
        "llmbench": package_version("llmbench") or "not installed",
        **{name: sources_digest(_PACKAGE / name) for name in ("engines", "kernels")},
        "torch": torch.__version__,
        **digests(loaded.kernels.values()),
    }
    return Loaded(generate, versions, f"{config.dtype}; {kernels}")


if __name__ == "__main__":
    serve(load)
