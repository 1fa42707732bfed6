"""Runs engines and servers under a load, and says what was measured and whether to believe it."""

from .. import kernels as kernels  # arranges threads before PyTorch is loaded
