"""The explanation service: how much each feature moved a model's answer."""
