"""Servers, channels, deadlines, errors and telemetry that every service shares; knows nothing of predictions."""
