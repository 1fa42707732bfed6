"""Runs that many are made of: the cells of a factorial, the methods of a frontier, repeats.

`identity` says what a stored run must say to be taken for one of them, `runner` makes one that is
missing, `real` and `simulated` are the two ways to.
"""
