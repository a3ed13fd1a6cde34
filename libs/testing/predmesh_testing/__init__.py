"""What Predmesh's tests, and yours, run against: real servers on free ports, and the mesh in one process."""
