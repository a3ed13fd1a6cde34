"""Has a page in a real browser ask the mesh across origins; prints what came out.

Serves the page, and beside it a mesh that is unavailable once and then answers by an empty message.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

BROWSER, SCRIPT, ORIGIN, MESH, SILENT, _ = sys.argv[1:]
ENDED = b"grpc-status: 0\r\n"
EMPTY = b"\x00\x00\x00\x00\x00" + b"\x80" + len(ENDED).to_bytes(4) + ENDED
tokens: list[str] = []


class Page(BaseHTTPRequestHandler):
    """The page, and the unreliable mesh below /flaky."""

    def do_GET(self) -> None:
        self._answer(200, "text/html", b"<title>asks</title>")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        tokens.append(self.headers["authorization"])
        self._answer(503 if len(tokens) == 1 else 200, "application/grpc-web+proto", EMPTY)

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    """Ask, and print what came out."""
    server = ThreadingHTTPServer(("127.0.0.1", urlsplit(ORIGIN).port or 0), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page()
        page.goto(f"{ORIGIN}/")
        page.add_script_tag(content=Path(SCRIPT).read_text())
        said = page.evaluate("servers => ask(...servers)", [MESH, SILENT, f"{ORIGIN}/flaky"])
        browser.close()
    server.shutdown()
    server.server_close()
    print(json.dumps(said | {"tokens": tokens}))


if __name__ == "__main__":
    main()
