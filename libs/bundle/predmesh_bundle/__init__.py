"""Bundles: how `predmesh.yaml` is read, checked and compiled, where bundles are stored, and how services follow."""
