"""Which outcomes of one case differ, and whether that is known."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.parity.exceptions import EXCEPTIONS, KnownException
from tests.parity.faces import Face
from tests.parity.golden import Case, Expected
from tests.parity.outcomes import Outcome
from tests.parity.rows import CannotSay
from tests.parity.wire import Wire


@dataclass(frozen=True)
class Difference:
    """One part of an outcome that is not as it should be."""

    case: Case
    face: str
    part: str
    wanted: Any
    got: Any
    row: int = 0


@dataclass
class Report:
    """What a run found.

    Attributes:
        cases: golden requests sent over one face at least.
        asked: how often each face was asked.
        differences: those that are not known.
        known: in how many answers each known exception was met, by name.
    """

    cases: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)
    known: Counter[str] = field(default_factory=Counter)


async def compare(wire: Wire, faces: Sequence[Face], cases: Iterable[Case]) -> Report:
    """Send each case over each face that can say it, all faces at once, one case after the other."""
    report = Report()
    for case in cases:
        outcomes = {}
        asked = [(face, shot) for face in faces if (shot := _shot(face, case)) is not None]
        if case.together:
            replies = await asyncio.gather(*(wire.send(shot) for _, shot in asked))
        else:
            replies = [await wire.send(shot) for _, shot in asked]
        for (face, _), reply in zip(asked, replies, strict=True):
            report.asked[face.name] += 1
            outcomes[face.name] = face.read(case, reply)
        report.cases += bool(outcomes)
        met: set[tuple[str, str]] = set()
        for difference in differences(case, outcomes):
            known = next((each for each in EXCEPTIONS if _covers(each, difference)), None)
            if known:
                met.add((known.name, difference.face))
            else:
                report.differences.append(difference)
        report.known.update(name for name, _ in met)
    return report


def differences(case: Case, outcomes: dict[str, list[Outcome]]) -> Iterator[Difference]:
    """How the outcomes differ from what is expected, and from those of the first face."""
    whole = len(case.expected) == 1 and not case.stream
    first = next(iter(outcomes.values()), [])
    fine = [each.code == "OK" for each in case.expected] * (len(case.rows) if whole else 1)
    answers = [case.answer(row) if right else {} for row, right in zip(case.rows, fine, strict=True)]
    for face, found in outcomes.items():
        if len(found) != len(case.expected):
            yield Difference(case, face, "answers", len(case.expected), len(found))
            continue
        for row, (outcome, expected, reference) in enumerate(zip(found, case.expected, first, strict=False)):
            rows = answers if whole else answers[row : row + 1]
            for part, wanted, got in [*_unexpected(outcome, expected, rows), *_unlike(outcome, reference)]:
                yield Difference(case, face, part, wanted, got, row)


Part = tuple[str, Any, Any]


def _unexpected(outcome: Outcome, expected: Expected, answers: Sequence[Any]) -> Iterator[Part]:
    for oddity in outcome.oddities:
        yield "form", "", oddity
    if outcome.code != expected.code if outcome.code else expected.code == "OK":
        yield "code", expected.code, f"{outcome.code}: {outcome.message}"
    if outcome.reason is not None and outcome.reason != expected.reason:
        yield "reason", expected.reason, outcome.reason
    if expected.places is not None and outcome.violations is not None:
        places = tuple(place for place, _ in outcome.violations)
        if places != expected.places:
            yield "places", expected.places, places
    if expected.code == outcome.code == "OK":
        yield from _values(answers, outcome.rows or [])


def _values(wanted: Sequence[Any], found: Sequence[Any]) -> Iterator[Part]:
    if len(wanted) != len(found):
        yield "rows", len(wanted), len(found)
    for right, row in zip(wanted, found, strict=False):
        for name in right | row if right != row else ():
            if right.get(name) != row.get(name):
                yield f"value of {name}", right.get(name), row.get(name)


def _unlike(outcome: Outcome, reference: Outcome) -> Iterator[Part]:
    if outcome.code not in (None, reference.code):
        return  # told already
    for part in ("message", "metadata", "violations", "origin"):
        mine, other = getattr(outcome, part), getattr(reference, part)
        if mine is not None and other is not None and mine != other:
            yield part, other, mine


def _shot(face: Face, case: Case) -> Any:
    try:
        return face.ask(case)
    except CannotSay:
        return None


def _covers(known: KnownException, difference: Difference) -> bool:
    return (
        known.part.fullmatch(difference.part) is not None
        and known.face.fullmatch(difference.face) is not None
        and known.case.fullmatch(difference.case.name) is not None
        and known.applies(difference.wanted, difference.got)
    )
