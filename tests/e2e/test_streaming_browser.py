"""Streams in a real browser: from a page of the gateway, and not from another's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Page, sync_playwright
from predmesh_testing.needs import find, needs
from predmesh_testing.running import FLIGHT, RunningMesh

pytestmark = needs("headless-chromium")

PATH = "/v1/models/flight-delay:streamPredict"
SOCKET = """([url, rows]) => new Promise((resolve) => {
  const socket = new WebSocket(url), heard = [];
  socket.onopen = () => rows.forEach((row) => socket.send(JSON.stringify(row)));
  socket.onmessage = ({ data }) => heard.push(JSON.parse(data)) === rows.length && socket.close();
  socket.onclose = ({ code }) => resolve([heard, code]);
})"""
EVENTS = """async ([url, rows]) => {
  const headers = { "content-type": "application/json", accept: "text/event-stream" };
  const answer = await fetch(url, { method: "POST", headers, body: JSON.stringify({ instances: rows }) });
  return (await answer.text()).match(/^event: .*$/gm);
}"""


@pytest.fixture
def page() -> Iterator[Page]:
    program = find("headless-chromium")
    assert program, "headless-chromium is missing; deploy/tools.py installs it where npm is"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield browser.new_page()
        browser.close()


def asked(page: Page, script: str, mesh: RunningMesh, scheme: str) -> Any:
    return page.evaluate(script, [f"{scheme}://{mesh.address}{PATH}", [FLIGHT, {}, FLIGHT]])


def test_a_page_of_the_gateway_streams(page: Page, flights_mesh: RunningMesh):
    page.goto(f"http://{flights_mesh.address}/")
    heard, code = asked(page, SOCKET, flights_mesh, "ws")
    assert [("response" in each, each["index"]) for each in heard] == [(True, 0), (False, 1), (True, 2)]
    assert code == 1005  # the page closed it, and gave no code
    assert asked(page, EVENTS, flights_mesh, "http") == [
        "event: prediction",
        "event: error",
        "event: prediction",
        "event: end",
    ]


def test_a_page_of_another_origin_gets_no_websocket(page: Page, flights_mesh: RunningMesh):
    page.route("http://evil.example/", lambda route: route.fulfill(content_type="text/html", body="<p>hello"))
    page.goto("http://evil.example/")
    assert asked(page, SOCKET, flights_mesh, "ws") == [[], 1006]
