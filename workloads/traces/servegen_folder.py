"""ServeGen's folders: what it publishes of production workloads (arXiv 2505.09999), as it is
(`servegen_chunks.py`), or a folder of two kinds of CSV that are derived from that:

- clients_summary.csv, a row a client: its service (`category`, as language/m-large), requests a
  second (`mean_rate_rps`), CV of its gaps (`rate_weighted_cv`) and their distribution
  (`main_iat_family`: Gamma, Weibull or Exponential).
- hist_<category>.csv, with _ for each /, a row a bin: what is counted (`field`: output_tokens, and
  input_tokens or text_tokens; others are passed over), its edges (`bin_lo`, `bin_hi`) and its share
  (`prob`).
"""

from __future__ import annotations

from pathlib import Path

from .servegen_chunks import models_of

CLIENTS = "clients_summary.csv"
CLIENT_COLUMNS = ("category", "mean_rate_rps", "rate_weighted_cv", "main_iat_family")
BIN_COLUMNS = ("field", "bin_lo", "bin_hi", "prob")
WANTED = (
    "ServeGen's data, with chunk-N-trace.csv and chunk-N-dataset.json of each client, or a folder "
    f"with {CLIENTS} ({', '.join(CLIENT_COLUMNS)}) and hist_<category>.csv "
    f"({', '.join(BIN_COLUMNS)})"
)


def is_derived(path: Path) -> bool:
    return (path / CLIENTS).is_file()


def is_servegen(path: Path) -> bool:
    """Whether a path is a folder of ServeGen's clients, published or derived."""
    return is_derived(path) or (path.is_dir() and bool(models_of(path)))
