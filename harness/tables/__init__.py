"""The two tables of a stored run: its columns, from records and traces, and back."""
