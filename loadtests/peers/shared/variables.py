"""Names of the environment variables by which a peer is told where things are; imports nothing."""

REPO = "PEER_FEAST_REPO"
"""Folder of the Feast repository."""

BUNDLE = "PEER_BUNDLE"
"""Folder of the bundle."""
