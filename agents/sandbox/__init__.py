"""Runs Python that nobody here has read: in a process of its own, with nothing of the server's in reach."""
