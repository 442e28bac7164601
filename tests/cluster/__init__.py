"""A Kubernetes API over real HTTP, and the controllers of a cluster with Seldon Core: what tests run instead of one."""
