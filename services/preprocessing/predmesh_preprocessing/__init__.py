"""The preprocessing service: inputs and features in, the model's tensors out."""
