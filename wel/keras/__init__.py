"""The one room that knows Keras: Keras 2 and Keras 3, side by side in one process, and what is private to each."""
