"""Simulated runs of whole pipelines, and experiments made of many."""
