"""Where wel runs, and where it writes."""
