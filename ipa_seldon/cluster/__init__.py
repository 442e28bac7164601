"""A Kubernetes cluster over its API: calls, watches, a lease, events."""
