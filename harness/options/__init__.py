"""The options of a run, declared once: for a command line, and for those who have them as data."""
