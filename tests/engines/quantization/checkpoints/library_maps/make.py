"""Makes the files anew, all or those of the libraries that are named:

.venv-reference/bin/python -m tests.engines.quantization.checkpoints.library_maps.make [LIBRARY…]
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.metadata import version

from . import (
    from_auto_round,
    from_compressed_tensors,
    from_gptqmodel,
    from_torchao,
    from_transformers,
)
from .stored import LibraryMap, file_of, save

# By the library's name in an import.
MAKERS: dict[str, Callable[[], dict[str, LibraryMap]]] = {
    "auto_round": from_auto_round.make,
    "compressed_tensors": from_compressed_tensors.make,
    "gptqmodel": from_gptqmodel.make,
    "torchao": from_torchao.make,
    "transformers": from_transformers.make,
}


def main(names: list[str]) -> None:
    for name in names or MAKERS:
        maps = MAKERS[name]()
        save(name, maps, {package: version(package) for package in (name, "torch")})
        print(f"{file_of(name)}: {len(maps)} maps, {file_of(name).stat().st_size} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
