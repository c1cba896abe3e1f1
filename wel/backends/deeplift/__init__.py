"""The installed deeplift, in a process of its own."""
