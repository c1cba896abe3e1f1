"""The installed iNNvestigate, in a process of its own."""
