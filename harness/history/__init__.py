"""The trend of a quantity over stored runs, and where it stepped to another level.

`series` says which runs belong together, `trend` what became of a quantity over them.
"""
