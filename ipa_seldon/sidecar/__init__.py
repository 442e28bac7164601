"""Beside each Triton of a pod: makes it run its stage's part of the plan, and says whether it does."""
