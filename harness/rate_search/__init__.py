"""Searches for the highest rate that holds: over a function from a rate, whoever serves it."""
