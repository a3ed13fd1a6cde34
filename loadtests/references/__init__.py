"""Servers that a prediction is compared with: what is left when the graph behind it is taken away."""
