"""`llmbench mock-server`: a server without a model, whose every byte is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..mock.rule import Fault
from .exits import say_text

if TYPE_CHECKING:
    import ssl

EPILOG = "\n\n".join(
    (
        "[bold]Examples[/]",
        "llmbench mock-server   [dim]on port 8000, a token each 5 ms after 20 ms[/]",
        "llmbench mock-server --ttft 200ms --gap 20ms --jitter 0.3 --tokens-per-chunk 4",
        "llmbench mock-server --fault http_429=0.05 --fault stall=0.01 --seed 3",
        "llmbench mock-server --ends-early 0.5   [dim]half of its replies are shorter[/]",
        "llmbench mock-server --tls-certificate server.pem --port 8443   [dim]https; measured "
        "with --base-url https://127.0.0.1:8443 --ca-file server.pem[/]",
        "llmbench run --target openai --base-url http://127.0.0.1:8000   [dim]measure it[/]",
        "llmbench run --target openai --base-url http://127.0.0.1:8000 "
        """--extra 'mock={"ttft_s": 1}'   [dim]what every request asks for itself[/]""",
        "curl -X DELETE http://127.0.0.1:8000/mock/log   [dim]what it truly sent, and when[/]",
    )
)


def mock_server(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0: any that is free.")] = 8000,
    ttft: Annotated[str, typer.Option(help="From a request to its first token.")] = "20ms",
    gap: Annotated[str, typer.Option(help="Between chunks.")] = "5ms",
    jitter: Annotated[
        float, typer.Option(help="Share by which both vary, drawn for each chunk.")
    ] = 0.0,
    tokens_per_chunk: Annotated[int, typer.Option(help="The most a chunk holds.")] = 1,
    silent_share: Annotated[
        float, typer.Option(help="Chunks that hold tokens and show no text.")
    ] = 0.0,
    ends_early: Annotated[
        float,
        typer.Option(
            help="Share of the replies that end before the tokens asked for, as a model would, "
            "unless a request says ignore_eos."
        ),
    ] = 0.0,
    counting: Annotated[
        str,
        typer.Option(
            help="How it says what it produced: continuous (vLLM), timings (llama.cpp), token_ids, "
            "final or none."
        ),
    ] = "continuous",
    fault: Annotated[
        list[str] | None,
        typer.Option(
            help=f"NAME=SHARE of the requests: {', '.join(Fault)}. Repeat it for more; the shares "
            "add up to at most 1."
        ),
    ] = None,
    stall: Annotated[str, typer.Option(help="How long a stall takes.")] = "200ms",
    owned_by: Annotated[
        str, typer.Option(help="What /v1/models calls the maker, as vllm or llamacpp.")
    ] = "llmbench-mock",
    seed: Annotated[int, typer.Option(help="Same seed and request id, same reply.")] = 0,
    tls_certificate: Annotated[
        Path | None,
        typer.Option(help="Serve https with this certificate (PEM); its key in the same file."),
    ] = None,
) -> None:
    """Serve OpenAI's API without a model: known times, known counts, known faults.

    /v1/models, /health, /v1/completions and /v1/chat/completions, streaming or not. A request can
    ask for its own behaviour in a field `mock` of its body.
    """
    import asyncio

    from ...engines.errors import ConfigError
    from ..mock.rule import Rule, find_counting, find_fault
    from ..mock.server import MockServer
    from ..units import parse_seconds

    faults = {}
    for text in fault or ():
        name, _, share = text.partition("=")
        try:
            faults[find_fault(name)] = float(share or 1)
        except ValueError as error:
            if isinstance(error, ConfigError):
                raise
            raise ConfigError("fault", text, "NAME=SHARE, as http_429=0.05") from error
    rule = Rule(
        ttft_s=_seconds("ttft", ttft),
        gap_s=_seconds("gap", gap),
        jitter=jitter,
        tokens_per_chunk=tokens_per_chunk,
        silent_share=silent_share,
        ends_early=ends_early,
        counting=find_counting(counting),
        stall_s=parse_seconds("stall", stall),
        seed=seed,
        faults=faults,
    )

    tls = None if tls_certificate is None else _certified(tls_certificate)

    async def serve() -> None:
        server = MockServer(rule.script, owned_by=owned_by)
        found = await server.start(host, port, tls)
        scheme = "http" if tls is None else "https"
        say_text(f"a mock server at {scheme}://{host}:{found} (Ctrl-C ends it)")
        await asyncio.get_running_loop().create_future()

    asyncio.run(serve())


def _certified(path: Path) -> ssl.SSLContext:
    import ssl

    from ...engines.errors import ConfigError

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # One with a passphrase would ask for it at the terminal.
        context.load_cert_chain(path, password=lambda: "")
    except OSError as error:
        why = error.strerror or str(error)
        allowed = "a file with a certificate and its key, in PEM"
        raise ConfigError("tls_certificate", str(path), allowed, f" ({why})") from error
    return context


def _seconds(field: str, text: str) -> float:
    """A time, as `parse_seconds` takes it, or 0."""
    from ..units import parse_seconds

    return 0.0 if text.strip() in ("0", "0s", "0ms") else parse_seconds(field, text)
