"""From a Keras model to a network that wel can walk."""
