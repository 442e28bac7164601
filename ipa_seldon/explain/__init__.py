"""Explains one decision of a log: what bound it, what came second, and what something else would have changed."""
