"""What a run of a pipeline came to, read back from what it keeps, and the report of it."""
