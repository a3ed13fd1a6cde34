"""The inference service: owns the models on Triton, or runs them in process; predictions go to them directly."""
