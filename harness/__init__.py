"""Runs engines and servers under a load, and says what was measured and whether to believe it."""

from ..kernels.threads import arrange_threads

arrange_threads()
