"""The gateway: Envoy, configured by pure functions from settings to YAML."""
