"""What is wrong with a bundle, said so that its writer can mend it."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One thing that is wrong."""

    file: str
    """File that holds it, relative to the bundle's folder."""
    line: int | None
    """Line of the file, counted from 1; None where the whole file is meant."""
    message: str
    """What is wrong and what would be right."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.message}" if self.line else f"{self.file}: {self.message}"


class BundleError(Exception):
    """A bundle that cannot be used; tells all that is wrong with it, in the order of the file."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda each: (each.file, each.line or 0, each.message)))
        super().__init__("\n".join(map(str, self.problems)))
