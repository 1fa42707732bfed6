"""Reports' charts as static figures, for papers and for Markdown."""

from .figure import save_charts

__all__ = ["save_charts"]
