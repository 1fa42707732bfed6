"""One configuration, run several times: what a number is worth beyond the run that gave it.

A repeated run is a directory of ordinary runs, each with a seed of its own; everything here is a
function of their results.
"""
