"""What names weights, and a quantisation of them: everything that they depend on."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ...kernels.sources import sources_digest
from .scheme import Scheme

# What decides the weights, and what that is made of.
_METHODS = Path(__file__).parent


def quantization_identity(directory: Path, scheme: Scheme, calibration: bytes) -> str:
    """Hex digits that change with the model's files, the scheme, what the method is calibrated on,
    and the sources of this package: a quantiser that was changed is measured, and not the weights
    that it gave before."""
    digest = hashlib.sha256()
    digest.update(f"{scheme} {sources_digest(_METHODS)}\n".encode())
    digest.update(hashlib.sha256(calibration).digest())
    return _with_files(digest, directory)


def files_identity(directory: Path) -> str:
    """Hex digits that change with the model's files."""
    return _with_files(hashlib.sha256(), directory)


def _with_files(digest: hashlib._Hash, directory: Path) -> str:
    """Weights are told apart by where they lie, their size and their time."""
    for name in ("config.json", "tokenizer.json"):
        path = directory / name
        digest.update(path.read_bytes() if path.exists() else b"")
    for path in sorted(directory.glob("*.safetensors")):
        state = path.stat()
        # The path itself tells apart models whose files happen to agree in size and time.
        digest.update(f"{path.resolve()} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]
