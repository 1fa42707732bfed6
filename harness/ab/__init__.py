"""Paired, interleaved comparison of wall time: two sides take turns, and a test says when
to stop."""
