"""Checks live what an adapter needs: the cluster, its pipelines, their load, the solvers. Nothing is changed."""
