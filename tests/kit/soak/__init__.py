"""The soak: visitors of every manner on a whole edge, faults from a seeded plan, and what must hold all the while."""
