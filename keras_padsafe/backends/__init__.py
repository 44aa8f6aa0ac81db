"""What Keras has no neutral form for: gradients, staged tensors, single operations."""
