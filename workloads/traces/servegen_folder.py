"""ServeGen's folders: which one is read, and which are not.

Read is a folder of two kinds of CSV that are derived from what alibaba/ServeGen publishes of
production workloads (arXiv 2505.09999), for it publishes neither:

- clients_summary.csv, a row a client: its service (`category`, as language/m-large), requests a
  second (`mean_rate_rps`), CV of its gaps (`rate_weighted_cv`) and their distribution
  (`main_iat_family`: Gamma, Weibull or Exponential).
- hist_<category>.csv, with _ for each /, a row a bin: what is counted (`field`: output_tokens, and
  input_tokens or text_tokens; others are passed over), its edges (`bin_lo`, `bin_hi`) and its share
  (`prob`).

Not read are the chunks as they are published, data/<category>/<model>/chunk-N-trace.csv and
chunk-N-dataset.json.
"""

from __future__ import annotations

from pathlib import Path

from ..api import WorkloadError

CLIENTS = "clients_summary.csv"
CLIENT_COLUMNS = ("category", "mean_rate_rps", "rate_weighted_cv", "main_iat_family")
BIN_COLUMNS = ("field", "bin_lo", "bin_hi", "prob")
WANTED = (
    f"a folder with {CLIENTS} ({', '.join(CLIENT_COLUMNS)}) and hist_<category>.csv "
    f"({', '.join(BIN_COLUMNS)}), which are derived from what ServeGen publishes"
)
_CHUNK = "chunk-*-trace.csv"
# The folder of a model, of a category, all of them, and the repository.
_DEPTHS = ("", "*/", "*/*/", "data/*/*/")


def is_servegen(path: Path) -> bool:
    """Whether a path is a folder of ServeGen's clients."""
    return (path / CLIENTS).is_file()


def refuse_chunks(path: Path) -> None:
    """Raises WorkloadError for a chunk as ServeGen publishes it, and for a folder of them."""
    if path.match(_CHUNK) or any(any(path.glob(depth + _CHUNK)) for depth in _DEPTHS):
        problem = "is of ServeGen's chunk-N-trace.csv and chunk-N-dataset.json, which are not read"
        raise WorkloadError("trace", path, WANTED, problem)
