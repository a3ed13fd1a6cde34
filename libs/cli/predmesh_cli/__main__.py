"""`python -m predmesh_cli` is `predmesh`."""

from predmesh_cli.app import main

if __name__ == "__main__":
    main()
