"""Numbers of relevances; nothing here knows a network."""
