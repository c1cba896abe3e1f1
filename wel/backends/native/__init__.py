"""wel's own engine."""
