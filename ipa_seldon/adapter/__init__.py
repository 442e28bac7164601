"""The adapter service on a cluster: a loop per pipeline, one leader, and what they tell."""
