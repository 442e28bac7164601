"""Listeners of a decision."""
