"""The platform on a cluster: Deployments' replicas, the plan that sidecars follow, pods' cores; no pod is rolled."""
