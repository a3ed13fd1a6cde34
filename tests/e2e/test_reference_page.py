"""The page that documents a model, in a real browser: read, filled in, refused, pasted from."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, Route, expect, sync_playwright
from predmesh_compiler.json_schema import example_row
from predmesh_testing.needs import find, needs
from predmesh_testing.running import FLIGHT, RunningMesh

from tests.unit.compiler.golden_files import GOLDEN, golden_contract

pytestmark = needs("headless-chromium")

VERSION = "/v1/models/flight-delay/versions/1"
REFERENCE = f"{VERSION}/contract/reference.html"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = find("headless-chromium")
    assert program, "headless-chromium is missing; deploy/tools.py installs it where npm is"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser, flights_mesh: RunningMesh) -> Iterator[Page]:
    """The reference page; in the end nothing has failed in it, and it has asked nobody but the mesh."""
    troubles: list[str] = []
    asked: list[str] = []

    def told(message: ConsoleMessage) -> None:
        # The browser reports each answer of 400 by itself.
        if message.type in ("error", "warning") and "status of 400" not in message.text:
            troubles.append(message.text)

    def sent(request: Request) -> None:
        asked.append(request.url)

    page = browser.new_page()
    page.on("console", told)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", sent)
    page.goto(f"http://{flights_mesh.address}{REFERENCE}")
    yield page
    page.close()
    assert troubles == []
    assert [url for url in asked if not url.startswith(f"http://{flights_mesh.address}/")] == []


def press(page: Page, button: str) -> dict[str, Any]:
    """The document that comes when *button* is pressed."""
    page.get_by_role("button", name=button, exact=True).click()
    expect(page.locator("#answer")).not_to_be_empty()
    return dict(json.loads(page.locator("#answer").inner_text()))


def rest(mesh: RunningMesh, verb: str, instance: dict[str, Any]) -> dict[str, Any]:
    return dict(mesh.post(f"{VERSION}/typed:{verb}", {"instance": instance}).json())


def test_the_example_is_predicted_as_it_stands(page: Page, flights_mesh: RunningMesh) -> None:
    assert press(page, "Predict")["prediction"] == rest(flights_mesh, "predict", FLIGHT)["prediction"]
    expect(page.get_by_role("status")).to_contain_text("200 in ")


def test_a_filled_form_is_answered_as_over_rest(page: Page, flights_mesh: RunningMesh) -> None:
    page.get_by_label("carrier").select_option("AA")
    page.get_by_label("origin").select_option("JFK")
    page.get_by_label("dest").fill("LAX")
    page.get_by_label("tailnum").fill("")
    page.get_by_label("scheduled_departure").fill("2013-12-30T13:00")
    page.get_by_label("distance_miles").fill("2475.5")
    row = {"carrier": "AA", "origin": "JFK", "dest": "LAX", "scheduled_departure": "2013-12-30T13:00:00Z"}
    wanted = rest(flights_mesh, "predict", row | {"distance_miles": 2475.5})["prediction"]
    assert press(page, "Predict")["prediction"] == wanted
    assert wanted != rest(flights_mesh, "predict", FLIGHT)["prediction"]


def test_a_prediction_is_explained(page: Page, flights_mesh: RunningMesh) -> None:
    wanted = rest(flights_mesh, "explain", FLIGHT)["explanation"]
    assert press(page, "Predict and explain")["explanation"] == wanted


def test_a_wrong_value_shows_its_violation_until_it_is_right(page: Page) -> None:
    distance = page.get_by_label("distance_miles")
    distance.fill("-5")
    refused = press(page, "Predict")
    described = "double, mi must be at least 1 (got -5 mi); did you mean '1'?"
    expect(distance).to_have_accessible_description(described)
    expect(distance).to_have_attribute("aria-invalid", "true")
    expect(distance).to_be_focused()
    assert refused["details"][0]["reason"] == "ERROR_REASON_INVALID_REQUEST"
    distance.fill("5")
    distance.press("Enter")
    expect(page.get_by_role("status")).to_contain_text("200 in ")
    expect(distance).not_to_have_attribute("aria-invalid", "true")
    expect(page.locator("#violation-distance_miles")).to_be_empty()


def test_every_violation_stands_beside_its_field(page: Page) -> None:
    page.get_by_label("distance_miles").fill("13000")
    page.get_by_label("scheduled_departure").fill("")
    press(page, "Predict")
    expect(page.locator("#violation-distance_miles")).to_contain_text("must be at most 12500")
    expect(page.locator("#violation-scheduled_departure")).to_contain_text("is required and missing")
    expect(page.locator("#violation-carrier")).to_be_empty()


@pytest.fixture
def everything(browser: Browser) -> Iterator[tuple[Page, list[Any]]]:
    """The page of a model with every type, which no mesh serves, and the bodies that it sends."""
    sent: list[Any] = []

    def answered(route: Route) -> None:
        if route.request.method == "POST":
            sent.append(route.request.post_data_json)
            route.fulfill(json={"prediction": {}})
        else:
            route.fulfill(path=GOLDEN / "everything" / "reference.html")

    page = browser.new_page()
    page.route("http://everything.test/**", answered)
    page.goto("http://everything.test/reference.html")
    yield page, sent
    page.close()


def test_every_type_is_sent_as_json_of_its_own(everything: tuple[Page, list[Any]]) -> None:
    page, sent = everything
    page.get_by_label("given_int64").fill("9007199254740993")
    page.get_by_label("moods").fill("")
    press(page, "Predict")
    example = example_row(golden_contract("everything").bundle.inputs)
    del example["moods"]
    told = {"given_int64": "9007199254740993", "given_time": "2013-12-31T23:59:00.000Z"}
    assert sent == [{"instance": example | told}]


def test_what_cannot_be_read_is_not_sent(everything: tuple[Page, list[Any]]) -> None:
    page, sent = everything
    page.get_by_label("given_int32").fill("")
    page.get_by_label("given_int32").press("e")
    page.get_by_label("few").fill("[1, 2")
    page.get_by_role("button", name="Predict", exact=True).click()
    expect(page.get_by_role("status")).to_have_text("Not sent")
    expect(page.locator("#violation-given_int32")).to_have_text("must be a whole number")
    expect(page.locator("#violation-few")).to_contain_text("JSON")
    assert sent == []


def test_the_home_page_leads_to_it(page: Page, flights_mesh: RunningMesh) -> None:
    page.goto(f"http://{flights_mesh.address}/")
    page.locator(f"a[href='{REFERENCE}']").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("flight-delay version 1")


def test_it_is_read_without_javascript(browser: Browser, flights_mesh: RunningMesh) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto(f"http://{flights_mesh.address}{REFERENCE}")
    expect(page.get_by_role("cell", name="Great-circle distance between the airports.")).to_be_visible()
    expect(page.get_by_role("button", name="Predict", exact=True)).to_be_hidden()
    page.close()


def test_it_fits_a_phone(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    press(page, "Predict and explain")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_colours_are_the_readers(page: Page, scheme: Any) -> None:
    page.emulate_media(color_scheme=scheme)
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(18, 22, 28)"}[scheme]


INTRUDER = """
([tag, url]) => new Promise((resolve) => {
  document.addEventListener("securitypolicyviolation", (event) => resolve(event.effectiveDirective));
  const intruder = document.createElement(tag);
  if (url) { intruder.src = url; } else { intruder.textContent = "document.title = 'taken'"; }
  document.body.append(intruder);
})
"""


@pytest.mark.parametrize(
    ("tag", "url", "directive"),
    [("script", "", "script-src-elem"), ("script", "/own.js", "script-src-elem"), ("img", "/own.png", "img-src")],
)
def test_what_does_not_belong_is_not_run(
    browser: Browser, flights_mesh: RunningMesh, tag: str, url: str, directive: str
) -> None:
    page = browser.new_page()
    page.goto(f"http://{flights_mesh.address}{REFERENCE}")
    assert page.evaluate(INTRUDER, [tag, url]) == directive
    assert page.title() == "flight-delay 1"
    page.close()


def test_no_page_may_frame_it(flights_mesh: RunningMesh, page: Page) -> None:
    answer = page.goto(f"http://{flights_mesh.address}{REFERENCE}")
    assert answer is not None
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == "frame-ancestors 'none'"
    assert answer.headers["x-content-type-options"] == "nosniff"


def pasted(page: Page, title: str) -> str:
    """The call under *title*, as a person copies it."""
    return page.locator("h3", has_text=title).locator("xpath=following-sibling::pre[1]").inner_text()


def run(command: str, folder: Path) -> str:
    tools = [str(Path(program).parent) for name in ("grpcurl", "curl") if (program := find(name))]
    path = os.pathsep.join([str(Path(sys.executable).parent), *tools, os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs("curl", "grpcurl")
def test_pasted_calls_are_answered(page: Page, flights_mesh: RunningMesh, tmp_path: Path) -> None:
    wanted = rest(flights_mesh, "predict", FLIGHT)["prediction"]
    assert json.loads(run(pasted(page, "REST, typed"), tmp_path))["prediction"] == wanted
    assert json.loads(run(pasted(page, "REST, as every model takes it"), tmp_path))["predictions"] == [wanted]
    assert json.loads(run(pasted(page, "gRPC, by grpcurl"), tmp_path))["prediction"] == wanted
    assert json.loads(run(pasted(page, "REST, why"), tmp_path))["prediction"]["prediction"] == wanted
    lines = run(pasted(page, "as lines"), tmp_path).splitlines()
    assert [json.loads(each)["response"]["prediction"] for each in lines] == [wanted, wanted]
    events = run(pasted(page, "as server-sent events"), tmp_path)
    assert [each.splitlines()[0] for each in events.split("\n\n") if each] == [*["event: prediction"] * 2, "event: end"]


def test_a_pasted_websocket_is_answered(page: Page, flights_mesh: RunningMesh) -> None:
    wanted = rest(flights_mesh, "predict", FLIGHT)["prediction"]
    with page.expect_console_message() as said:
        page.evaluate(f"() => {{ {pasted(page, 'WebSocket')} }}")
    assert said.value.args[0].json_value()["response"]["prediction"] == wanted


@needs("curl")
def test_pasted_python_calls_by_stubs_it_has_made(page: Page, flights_mesh: RunningMesh, tmp_path: Path) -> None:
    _, making = pasted(page, "make them").split("\n", 1)  # What pip would install is here.
    run(making, tmp_path)
    (tmp_path / "call.py").write_text(pasted(page, "Python: call"))
    wanted = rest(flights_mesh, "predict", FLIGHT)["prediction"]["late_probability"]
    assert run("python call.py", tmp_path).strip() == f"late_probability: {wanted}"
