"""The load generators, vegeta for REST and ghz for gRPC: each sends the requests of a file in turn."""

from __future__ import annotations

import base64
import json
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from predmesh_gateway.settings import contract_descriptors

from loadtests.bench.runs import Load, Run

ROOT = Path(__file__).resolve().parents[2]
PREDICT = "predmesh.prediction.v1.PredictionService/Predict"
TIMEOUT_SECONDS = 10
MOST_IN_FLIGHT = 2000
"""Of an open loop; what does not fit is late, and seen as such."""
ERRORS = 3


def tool(name: str) -> str:
    """Path of an installed load generator."""
    found = sorted((ROOT / ".tools").glob(f"{name}-*/{name}"))
    if not found:
        raise SystemExit(f"{name} is not installed: run `make dev` (it needs Go)")
    return str(found[-1])


def write_targets(path: Path, url: str, bodies: Iterable[Mapping[str, Any]] = ()) -> Path:
    """Writes vegeta's targets: a POST of each JSON body to one URL, or one GET where there is none."""
    posts = [(url, body) for body in bodies]
    if posts:
        return write_posts(path, posts)
    path.write_text(json.dumps({"method": "GET", "url": url}) + "\n")
    return path


def write_posts(path: Path, posts: Iterable[tuple[str, Mapping[str, Any]]]) -> Path:
    """Writes vegeta's targets: a POST of each JSON body to its URL."""
    header = {"content-type": ["application/json"]}
    targets = (
        {"method": "POST", "url": url, "header": header, "body": base64.b64encode(json.dumps(body).encode()).decode()}
        for url, body in posts
    )
    path.write_text("".join(json.dumps(target) + "\n" for target in targets))
    return path


def vegeta(name: str, targets: Path, load: Load) -> Run:
    """Sends the *targets* in turn."""
    sent = subprocess.run([tool("vegeta"), *vegeta_words(targets, load)], check=True, capture_output=True)
    made = subprocess.run([tool("vegeta"), "report", "-type=json"], input=sent.stdout, check=True, capture_output=True)
    return vegeta_run(name, load, json.loads(made.stdout))


def vegeta_words(targets: Path, load: Load) -> list[str]:
    """The arguments of vegeta."""
    pace = (
        f"-rate=0 -max-workers={load.concurrency} -workers={load.concurrency}"
        if load.concurrency
        else f"-rate={load.rate}/1s -max-workers={MOST_IN_FLIGHT}"
    )
    rest = f"-format=json -max-body=0 -timeout={TIMEOUT_SECONDS}s -duration={load.seconds:g}s -targets={targets}"
    return ["attack", *pace.split(), *rest.split()]


def vegeta_run(name: str, load: Load, report: Mapping[str, Any]) -> Run:
    """The run that vegeta's *report* tells of."""
    good = report["status_codes"].get("200", 0)
    p50, p95, p99 = (report["latencies"][key] / 1e6 for key in ("50th", "95th", "99th"))
    return Run(
        name=name,
        load=load,
        requests=report["requests"],
        failed=report["requests"] - good,
        per_second=report["throughput"],
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        errors=tuple((report.get("errors") or [])[:ERRORS]),
    )


def ghz_config(
    load: Load, messages: Path, *, host: str, call: str = PREDICT, descriptors: Path | None = None
) -> dict[str, Any]:
    """A configuration file of ghz.

    Args:
        load: the pace.
        messages: file of a JSON list of messages, sent in turn.
        host: `host:port` or `unix:///path`.
        call: `package.Service/Method`.
        descriptors: a descriptor set that holds the call. Default: the contracts'.
    """
    pace = (
        {"concurrency": load.concurrency, "connections": min(load.concurrency, 8)}
        if load.concurrency
        else {"rps": load.rate, "async": True, "concurrency": 8, "connections": 8}
    )
    return {
        "protoset": str(descriptors or contract_descriptors()),
        "call": call,
        "host": host,
        "insecure": True,
        "data-file": str(messages),
        "disable-template-functions": True,
        "disable-template-data": True,
        "duration": f"{load.seconds:g}s",
        "duration-stop": "wait",
        "timeout": f"{TIMEOUT_SECONDS}s",
        **pace,
    }


def write_messages(path: Path, messages: Sequence[Mapping[str, Any]]) -> Path:
    """Writes what ghz sends."""
    path.write_text(json.dumps(list(messages)))
    return path


def ghz(name: str, config: Mapping[str, Any], load: Load, file: Path | None = None) -> Run:
    """Calls as *config* says, which `ghz_config` made; it is written to *file*, or beside the messages."""
    messages = Path(config["data-file"])
    file = file or messages.with_name(f"{messages.stem}-ghz.json")
    file.write_text(json.dumps(config, indent=2) + "\n")
    done = subprocess.run([tool("ghz"), f"--config={file}", "--format=json"], check=True, capture_output=True)
    return ghz_run(name, load, json.loads(done.stdout))


def ghz_run(name: str, load: Load, report: Mapping[str, Any]) -> Run:
    """The run that ghz's *report* tells of."""
    statuses = report.get("statusCodeDistribution") or {}
    good = statuses.get("OK", 0)
    latency = {item["percentage"]: item["latency"] / 1e6 for item in report.get("latencyDistribution") or []}
    p50, p95, p99 = (latency.get(share, float("nan")) for share in (50, 95, 99))
    return Run(
        name=name,
        load=load,
        requests=report["count"],
        failed=report["count"] - good,
        per_second=good / (report["total"] / 1e9),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        errors=tuple(report.get("errorDistribution") or {})[:ERRORS],
    )
