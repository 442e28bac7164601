"""Simulated load, and what can be computed about a pipeline without a server."""
