"""One command that runs something, at every point of a grid or at growing rates.

`grid` says which points, `cells` runs one (resumable, and shared by processes), `saturation` looks
for the rate that a system no longer follows, `leads` says which point is best and how surely,
`table` puts what was found side by side.
"""
