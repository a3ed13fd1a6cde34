"""Gives every name of a contract its number for ever; pure, from a bundle and its lock to both with all numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from predmesh_bundle.schema import Bundle, Input, Output

from predmesh_compiler.lock import LOCK_FILE, MOST, PROTOBUFS_OWN, Lock, Numbers

Path = tuple[str | int, ...]


class Clash(Exception):
    """The bundle asks for numbers that its lock refuses; each problem with its path in the bundle."""

    def __init__(self, problems: Sequence[tuple[Path, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(message for _, message in problems))


def numbered(bundle: Bundle, lock: Lock) -> tuple[Bundle, Lock]:
    """*bundle* with a number for each input and output, and the lock that keeps them.

    A name keeps its number. A new name gets the one that it asks for, which may be that of a name that has just gone (a
    rename), else the next that was never used. Names and numbers that are gone stay reserved.

    Raises:
        Clash: the bundle asks for a number that it cannot have.
    """
    problems: list[tuple[Path, str]] = []
    inputs = _side("inputs", bundle.inputs, lock.inputs, problems)
    outputs = _side("outputs", bundle.outputs, lock.outputs, problems)
    if problems:
        raise Clash(problems)
    changes = {
        "inputs": tuple(each.model_copy(update={"number": inputs.used[each.name]}) for each in bundle.inputs),
        "outputs": tuple(each.model_copy(update={"number": outputs.used[each.name]}) for each in bundle.outputs),
    }
    asked = {each.name: each.categories for each in bundle.inputs if each.enum}
    answered = {each.name: each.labels for each in bundle.outputs if each.enum}
    return bundle.model_copy(update=changes), Lock(
        inputs=inputs,
        outputs=outputs,
        input_values=_enums(asked, _renamed(lock.input_values, lock.inputs, inputs)),
        output_values=_enums(answered, _renamed(lock.output_values, lock.outputs, outputs)),
    )


def _side(side: str, items: Sequence[Input | Output], locked: Numbers, problems: list[tuple[Path, str]]) -> Numbers:
    names = {each.name for each in items}
    holders = {number: name for name, number in locked.used.items() if name in names}
    spent = set(locked.gone.values()) - set(locked.used.values())
    used: dict[str, int] = {}
    for index, each in enumerate(items):
        if problem := _problem(each, locked, holders, spent):
            problems.append(((side, index, "name" if each.number is None else "number"), problem))
        elif (number := locked.used.get(each.name, each.number)) is not None:
            used[each.name] = number
    taken = {*used.values(), *locked.used.values(), *locked.gone.values()}
    for each in items:
        if each.name not in used:
            used[each.name] = _next(taken)
            taken.add(used[each.name])
    gone = {**locked.gone, **{name: number for name, number in locked.used.items() if name not in names}}
    return Numbers(used, {name: number for name, number in gone.items() if name not in names})


def _problem(each: Input | Output, locked: Numbers, holders: Mapping[int, str], spent: set[int]) -> str | None:
    number, name = each.number, each.name
    if name in locked.used:
        if number in (None, locked.used[name]):
            return None
        return (
            f"{name!r} has the number {locked.used[name]} in {LOCK_FILE}, which never moves: write that, or no number"
        )
    if name in locked.gone and number is None:
        had = locked.gone[name]
        if had in holders:
            return f"{name!r} was renamed to {holders[had]!r}, and clients may still use it: choose another name"
        return (
            f"{name!r} was removed, and had the number {had}: write `number: {had}` to bring it back, or another name"
        )
    if number is not None and number in holders:
        return f"the number {number} is that of {holders[number]!r} in {LOCK_FILE}: write another, or none"
    if name in locked.gone and number != locked.gone[name]:
        return f"{name!r} was there before, with the number {locked.gone[name]}: write that, or choose another name"
    if number in spent and name not in locked.gone:
        return f"the number {number} was that of something removed ({LOCK_FILE} keeps it): write another, or none"
    return None


def _renamed(values: Mapping[str, Numbers], before: Numbers, after: Numbers) -> dict[str, Numbers]:
    """The enums of *before* under the names that their fields have in *after*."""
    names = {number: name for name, number in after.used.items()}
    return {names.get(before.used.get(name, 0), name): each for name, each in values.items()}


def _enums(texts: Mapping[str, Sequence[str]], locked: Mapping[str, Numbers]) -> dict[str, Numbers]:
    return dict(locked) | {name: _values(each, locked.get(name, Numbers())) for name, each in texts.items()}


def _values(texts: Sequence[str], locked: Numbers) -> Numbers:
    """A text always has the number that it had first: unlike a field, it cannot mean anything else."""
    known = {**locked.gone, **locked.used}
    taken = set(known.values())
    used: dict[str, int] = {}
    for text in texts:
        used[text] = known[text] if text in known else max(taken, default=0) + 1
        taken.add(used[text])
    return Numbers(used, {text: number for text, number in known.items() if text not in used})


def _next(taken: Iterable[int]) -> int:
    number = max(taken, default=0) + 1
    if number in PROTOBUFS_OWN:
        number = PROTOBUFS_OWN.stop
    if number <= MOST:
        return number
    held = set(taken)
    return next(each for each in range(1, MOST) if each not in held and each not in PROTOBUFS_OWN)
