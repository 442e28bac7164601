"""Pure translation, both directions, between allocations and what a serving system stores."""
