"""The `predmesh` command: runs a mesh on one machine, and asks it for predictions."""
