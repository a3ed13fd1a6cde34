"""What requests of the Open Inference Protocol may say in `parameters`; all else is refused, not ignored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from predmesh_prediction.oip_extensions import SEND_BYTES, SHARED_MEMORY
from predmesh_prediction.values import kind
from predmesh_prediction.violations import Violations

Rule = Callable[[Any], str]
"""Says what is wrong with a value; nothing where it is right."""

_HINTS = ("np", "str", "pd")
_MOST_MICROSECONDS = 2**63 - 1


def _microseconds(value: Any) -> str:
    if type(value) is int and 0 <= value <= _MOST_MICROSECONDS:
        return ""
    return f"must be a whole number of microseconds, 0 for no limit of its own, not {kind(value)}"


def flag(value: Any) -> str:
    """The rule of a parameter that is true or false."""
    return "" if isinstance(value, bool) else f"must be true or false, not {kind(value)}"


def _unset(text: str) -> Rule:
    """The rule of a parameter that clients send, and that has an effect nowhere but with its default."""
    return lambda value: "" if value in (0, "", None) else text


def _hint(value: Any) -> str:
    # MLServer's codecs say how they wrote a tensor; these are what its datatype says already.
    return "" if value in _HINTS else f"must be one of {', '.join(_HINTS)}: a tensor's datatype says what it holds"


_NO_SEQUENCES = "is not offered: the mesh keeps no sequences, so send each request on its own"

REQUEST: Mapping[str, Rule] = {
    "timeout": _microseconds,
    "priority": _unset("is not offered: requests are served as they come, and share batches evenly"),
    "sequence_id": _unset(_NO_SEQUENCES),
    "sequence_start": _unset(_NO_SEQUENCES),
    "sequence_end": _unset(_NO_SEQUENCES),
    "triton_enable_empty_final_response": _unset("is not offered: each request has one answer"),
    "content_type": _hint,
}
"""Parameters of a request."""

INPUT: Mapping[str, Rule] = {"content_type": _hint}
"""Parameters of an input."""

OUTPUT: Mapping[str, Rule] = {
    "classification": _unset("is not offered: ask for the scores, or declare an output with labels in the bundle"),
    "content_type": _hint,
}
"""Parameters of an output that is asked for."""


def check_parameters(given: Mapping[str, Any], rules: Mapping[str, Rule], at: str, violations: Violations) -> None:
    """Note which of the parameters *given* at *at* break their rule, or have none."""
    for name in sorted(given):
        value, place = given[name], f"{at}.{name}"[:200]
        rule = rules.get(name)
        if rule is not None:
            fault = rule(value)
            if fault:
                violations.add(place, fault)
        elif name.startswith(SHARED_MEMORY):
            violations.add(place, SEND_BYTES)
        else:
            violations.unknown(place, f"is no parameter here; there are {', '.join(rules)}", name, rules)


def timeout_seconds(parameters: Mapping[str, Any]) -> float:
    """The time that checked *parameters* of a request allow it; infinite where they do not say."""
    microseconds = parameters.get("timeout") or 0
    return microseconds / 1e6 if microseconds else float("inf")
