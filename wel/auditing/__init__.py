"""`wel audit`: does what is drawn for a stranger's network depend on what it decides? One report."""
