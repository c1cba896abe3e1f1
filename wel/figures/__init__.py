"""From tables to pictures, one file per study."""
