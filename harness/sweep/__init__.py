"""One command that runs something, at every point of a grid or at growing rates.

`grid` says which points, `cells` runs one (resumable, and shared by processes), `saturation` looks
for the rate that a system no longer follows (`keeping_up` says what one run shows of that, `refine`
moves the answer where longer runs do), `leads` says which point is best and how surely, `table`
puts what was found side by side.
"""
