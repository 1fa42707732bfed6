"""What runs inside a peer's own Python: it loads the engine, serves jobs, says when tokens came.

A peer's environment does not hold this package, so these files import nothing of it. They run as
`python -m runners.NAME` with this folder's parent on the path, and speak lines of JSON: see
`lines.py`.
"""
