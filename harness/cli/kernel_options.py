"""What the commands of `llmbench kernels` are asked alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    import torch

Ops = Annotated[
    list[str] | None, typer.Option("--op", help="An operation. Repeat it for more. Default: all.")
]
Kernels = Annotated[
    list[str] | None,
    typer.Option(
        "--kernel",
        help="op=implementation, registered or your own (op=module:function, op=file.py). Repeat "
        "it for more.",
    ),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


def ops_named(asked: list[str] | None, only: dict[str, str]) -> list[str]:
    """The operations asked for, those of the kernels asked for, or all."""
    from ...kernels.registry import OPS, known

    if asked:
        return [known("operation", op, OPS) for op in asked]
    return list(only) or list(OPS)


def device_named(name: str) -> torch.device:
    """Raises ConfigError for a device that is not here."""
    from ...engines.device import find_device

    return find_device(name)


def dtypes_named(names: list[str] | None) -> list[torch.dtype]:
    """Those of the names, or all three. Raises ConfigError for another."""
    import torch

    from ...engines.errors import unknown_name

    known = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
    for name in names or ():
        if name not in known:
            raise unknown_name("dtype", name, known)
    return [known[name] for name in names or known]
