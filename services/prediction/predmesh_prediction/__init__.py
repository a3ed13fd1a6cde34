"""Answers predictions: validates, routes to a version, commits in groups, answers."""
