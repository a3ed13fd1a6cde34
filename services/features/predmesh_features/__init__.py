"""Serves feature values from Feast's online store, with their age and whether they can be trusted."""
