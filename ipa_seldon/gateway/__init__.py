"""The local ingress of a pipeline: runs its graph over a Triton server with the semantics of Seldon's executor."""
