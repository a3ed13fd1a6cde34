"""The part of a Python client that is the same for every model; copied into each generated package as it is."""
