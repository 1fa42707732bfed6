"""`llmbench peers`: other engines beside ours, on the same weights, requests and cores."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import foreign
from .exits import Exit, say, say_error, say_text

if TYPE_CHECKING:
    from ..peers.session import Session

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench peers --install peers   [dim]fetch and build them, once[/]",
        "llmbench peers --directory peers --model smollm2-135m   [dim]measure everyone[/]",
        "llmbench peers --peer llmbench --peer llama.cpp --precision int4 --rounds 5",
    )
)


def peers(
    model: Annotated[
        str, typer.Option(help="A name from 'llmbench models', or a Hugging Face directory.")
    ] = "smollm2-135m",
    peer: Annotated[
        list[str] | None,
        typer.Option(
            help="llmbench, llama.cpp, vLLM or transformers. Repeat it for more. Default: all."
        ),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="bf16, int8 or int4. Repeat it for more. Default: all."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Formats by name, such as Q4_1. Default: all but Q4_1."),
    ] = None,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each engine.")] = 3,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Cores for each. Default: all that may be used.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Same seed, same tokens sent.")] = 0,
    directory: Annotated[
        Path, typer.Option(help="Where --install put the peers; their model files are kept there.")
    ] = Path("peers"),
    llama_cpp: Annotated[
        Path | None,
        typer.Option(help="A llama.cpp source tree, its programs in build/bin."),
    ] = None,
    vllm_python: Annotated[
        Path | None, typer.Option(help="The Python of an environment with vLLM for CPU.")
    ] = None,
    out: Annotated[
        Path, typer.Option(help="Where rounds and result go; rounds that are there are kept.")
    ] = Path("runs/peers"),
    document: Annotated[
        Path | None, typer.Option(help="A Markdown file to put the result in, between its markers.")
    ] = None,
    lock: Annotated[
        Path | None,
        typer.Option(help="A file to lock (flock) during each turn, on a machine that is shared."),
    ] = None,
    install: Annotated[
        Path | None,
        typer.Option(help="Fetch and build the peers below this directory, and do nothing else."),
    ] = None,
) -> None:
    """Measure other engines beside ours: llama.cpp, vLLM for CPU, transformers.

    Everyone serves the same weights to the same requests, in turn. What is not installed is left
    out, and the result says so.
    """
    from ..peers.base import PeerError

    try:
        if install is not None:
            from ..peers.install import install as install_peers

            install_peers(install, say_text)
            say(f"\n[bold]peers[/]  {foreign(install)}")
            return
        from ..peers.session import places, session
        from ..peers.table import check_document
        from ..storage.whole_file import check_writable

        check_writable("out", out / "peers.json")
        if document is not None:
            check_document(document)

        # Ended from outside, too, no server is left behind.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        asked = session(
            places(directory, threads, llama_cpp, vllm_python),
            model=model,
            peers=peer or (),
            precisions=precision or (),
            weights=weights or (),
            rounds=rounds,
            seed=seed,
            out=out,
            lock=lock,
        )
        raise typer.Exit(_measure(asked, document))
    except PeerError as error:
        say_error(error)
        raise typer.Exit(Exit.USAGE) from None


def _measure(asked: Session, document: Path | None) -> Exit:
    from ..peers.session import measure
    from ..peers.table import markdown, update_document

    result = measure(asked, say_text)
    text = markdown(result)
    print(text)
    if document is not None:
        update_document(document, text)
    say(f"[bold]result[/]  {foreign(asked.out / 'peers.json')}")
    for name, why in result.not_measured.items():
        say_error(f"{name} not measured: {why}")
    return Exit.OK if result.rows else Exit.USAGE
