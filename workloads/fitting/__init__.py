"""A workload that behaves as a trace does, and how near it comes: see `fit.py`."""

from .fit import FittedWorkload, fit_trace

__all__ = ["FittedWorkload", "fit_trace"]
