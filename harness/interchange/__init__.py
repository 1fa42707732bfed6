"""Results in other tools' files, and other tools' files as results.

`export` writes a run as vLLM, aiperf, github-action-benchmark or a spreadsheet expects it;
`read_run` reads vLLM's, aiperf's and guidellm's files as a run that `compare` takes. Definitions
are converted, not names only: docs/interchange.md has the table.
"""

from __future__ import annotations

from .export import FORMATS, export
from .read import read_run

__all__ = ["FORMATS", "export", "read_run"]
