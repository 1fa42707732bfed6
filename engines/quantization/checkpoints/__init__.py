"""Quantised models as they are published: formats that are read, and those that are written.

One file a format: what its config says, how one linear map lies on disk. `read.py` finds out which
of them a directory is in, `write.py` makes a directory.
"""
