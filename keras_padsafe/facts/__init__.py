"""What is known of Keras, as data, each name checked against Keras by a test."""
