"""A PyTorch model on Triton, with the GPU where there is one, beside a loop over the same file without a server."""
