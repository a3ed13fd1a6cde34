"""What users would serve the flights with instead, measured beside Predmesh: `python -m loadtests.peers`."""
