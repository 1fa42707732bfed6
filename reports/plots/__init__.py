"""Reports' charts as static figures, for papers and for Markdown."""

from .figure import save_plots

__all__ = ["save_plots"]
