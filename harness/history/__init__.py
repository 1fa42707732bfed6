"""The trend of stored runs of one kind, and where it stepped."""
