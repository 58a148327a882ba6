"""HTTP in: one file per resource. Each parses, calls, answers, and decides nothing."""
