"""Engines of other libraries in this process, behind the Protocol of ours (`engines/api.py`).

So `drive` sends them the same plan, and `serve` could put them behind HTTP. They show no steps.
"""
