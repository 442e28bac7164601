"""Adapts inference pipelines on Seldon Core and Triton online, under one end-to-end latency SLO."""

__version__ = "0.1.0"
