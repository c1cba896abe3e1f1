"""From files to what a network takes."""
