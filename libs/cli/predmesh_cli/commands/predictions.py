"""`predmesh predict` and `predmesh explain`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from predmesh_cli import console
from predmesh_cli.errors import CliError, ExitCode
from predmesh_cli.gateway_client import Gateway, GrpcGateway, RestGateway
from predmesh_cli.home import Home
from predmesh_cli.options import DEFAULT_HOME, HomeOption, JsonOption
from predmesh_cli.rows import row_from_words, rows_from_file
from predmesh_cli.running import gateway_url

app = typer.Typer()

ModelArgument = Annotated[str, typer.Argument(help="Name of the model, e.g. flight-delay.")]
WordsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="One row, an input a word.", show_default=False)
]
FileOption = Annotated[
    str | None, typer.Option("--file", help='Rows as JSON: {"instances": […]}, a list, a row a line; - is stdin.')
]
VersionOption = Annotated[str, typer.Option("--version", help="Version; default: the one that takes the traffic.")]
GrpcOption = Annotated[bool, typer.Option("--grpc", help="Ask over gRPC instead of REST.")]
UrlOption = Annotated[str | None, typer.Option("--url", help="Another mesh's gateway, e.g. http://host:8080.")]


@app.command()
def predict(
    model: ModelArgument,
    words: WordsArgument = None,
    file: FileOption = None,
    version: VersionOption = "",
    over_grpc: GrpcOption = False,
    url: UrlOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Ask the running mesh for predictions, of one row in words or of many in a file."""
    _check_source(words, file)
    gateway = _gateway(home, url, over_grpc)
    answer = gateway.predict(model, version, _rows(gateway, model, version, words, file))
    if as_json:
        console.print_json(answer)
        return
    _show_predictions(answer)


@app.command()
def explain(
    model: ModelArgument,
    words: WordsArgument = None,
    file: FileOption = None,
    version: VersionOption = "",
    top: Annotated[int, typer.Option("--top", min=0, help="Largest attributions shown a row; 0 shows all.")] = 10,
    output: Annotated[str, typer.Option("--output", help="Output to explain; default: the first.")] = "",
    over_grpc: GrpcOption = False,
    url: UrlOption = None,
    home: HomeOption = DEFAULT_HOME,
    as_json: JsonOption = False,
) -> None:
    """Ask for predictions and for how much each feature moved them."""
    _check_source(words, file)
    gateway = _gateway(home, url, over_grpc)
    rows = _rows(gateway, model, version, words, file)
    answer = gateway.explain(model, version, rows, top=top, output=output)
    if as_json:
        console.print_json(answer)
        return
    _show_predictions(answer.get("prediction", {}))
    for number, explanation in enumerate(answer.get("explanations", []), start=1):
        _show_explanation(answer, explanation, number)


def _gateway(home: Any, url: str | None, over_grpc: bool) -> Gateway:
    base = (url or gateway_url(Home.at(home))).rstrip("/")
    return GrpcGateway(base.split("://")[-1]) if over_grpc else RestGateway(base)


def _check_source(words: list[str] | None, file: str | None) -> None:
    if bool(words) == bool(file):
        raise CliError("give one row as key=value words, or rows by --file", code=ExitCode.USAGE)


def _rows(gateway: Gateway, model: str, version: str, words: list[str] | None, file: str | None) -> list[Any]:
    if file:
        return rows_from_file(file)
    return [row_from_words(words or [], gateway.describe(model, version).get("inputs", []))]


def _show_predictions(answer: Mapping[str, Any]) -> None:
    predictions = answer.get("predictions", [])
    ids = answer.get("predictionIds", [])
    names = list(predictions[0]) if predictions else []
    table = Table(*names, "prediction id", box=None, pad_edge=False, header_style="bold")
    for row, prediction_id in zip(predictions, ids or [""] * len(predictions), strict=False):
        table.add_row(*(_text(row.get(name)) for name in names), escape(prediction_id))
    console.out.print(table)
    for degraded in answer.get("degraded", []):
        console.out.print(
            f"[yellow]degraded[/] {escape(degraded.get('stage', ''))}: {escape(degraded.get('detail', ''))}"
        )
    console.out.print(f"\n{escape(_by(answer))}")


def _by(answer: Mapping[str, Any]) -> str:
    timings: Sequence[Mapping[str, Any]] = answer.get("timings", [])
    stages = ", ".join(f"{timing['stage']} {_milliseconds(timing.get('duration', '0s'))}" for timing in timings)
    return (
        f"{answer.get('model', '')} version {answer.get('modelVersion', '')} ({answer.get('bundleId', '')})  {stages}"
    )


def _milliseconds(duration: str) -> str:
    return f"{float(duration.removesuffix('s')) * 1000:.1f} ms"


def _show_explanation(answer: Mapping[str, Any], explanation: Mapping[str, Any], number: int) -> None:
    space = str(answer.get("space", "")).removeprefix("ATTRIBUTION_SPACE_").lower()
    base = float(explanation.get("baseValue", 0.0))
    console.out.print(
        f"\nrow {number}: {escape(str(answer.get('output', '')))} in {space} space, base value {base:+.4f}"
    )
    table = Table("feature", box=None, pad_edge=False, header_style="bold")
    for name in ("value", "contribution"):
        table.add_column(name, justify="right")
    table.add_column("")
    attributions = explanation.get("attributions", [])
    largest = max((abs(float(each.get("contribution", 0.0))) for each in attributions), default=0.0)
    for each in attributions:
        table.add_row(*_attribution(each, largest))
    console.out.print(table)


def _attribution(each: Mapping[str, Any], largest: float) -> tuple[str, ...]:
    moved = float(each.get("contribution", 0.0))
    bar = "█" * round(20 * abs(moved) / largest) if largest else ""
    return (
        escape(str(each.get("feature", ""))),
        _text(float(each.get("value", 0.0))),
        f"{moved:+.4f}",
        f"[{'red' if moved > 0 else 'blue'}]{bar}[/]",
    )


def _text(value: Any) -> str:
    if isinstance(value, float):
        return "missing" if math.isnan(value) else f"{value:.6g}"
    return escape(str(value))
