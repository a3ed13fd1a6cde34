"""The REST paths of the Open Inference Protocol on the HTTP/1.1 front: what the gateway passes on as it came."""

import httpx
import pytest


@pytest.mark.parametrize("path", ["/v2", "/v2/", "/v2/health/live", "/v2/models/digits/versions/1/ready"])
async def test_a_path_is_known_with_a_slash_at_its_end_and_without(front: httpx.AsyncClient, path: str) -> None:
    assert (await front.get(path)).status_code == 200
    assert (await front.get(path.rstrip("/") + "/")).status_code == 200


@pytest.mark.parametrize(
    ("verb", "path", "status"),
    [
        ("POST", "/v2/models/digits/infer", 400),
        ("GET", "/v2/models/digit", 404),
        ("GET", "/v2/models/digits/versions/9/ready", 404),
        ("POST", "/v2/repository/models/digits/load", 403),
        ("GET", "/v2/models/digits/config", 501),
        ("GET", "/v2/models/digits/versions/1/stats", 501),
        ("GET", "/v2/systemsharedmemory/region/a/status", 501),
        ("POST", "/v2/models/digits/generate_stream", 501),
        ("POST", "/v2/models/digits/trace/setting", 501),
    ],
)
async def test_an_error_says_its_message_where_clients_look(
    front: httpx.AsyncClient, verb: str, path: str, status: int
) -> None:
    answer = await front.request(verb, path, content=b"" if verb == "GET" else b"{")
    document = answer.json()
    assert answer.status_code == status
    assert document["error"] == document["message"] != ""
    assert document["details"][0]["reason"].startswith("ERROR_REASON_")


async def test_other_paths_answer_with_a_status_alone(front: httpx.AsyncClient) -> None:
    assert "error" not in (await front.post("/v1/models/digit:predict", content=b"{}")).json()
