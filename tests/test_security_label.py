"""The link for people who help to label opens the page for that, and nothing else of the app."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute, Mount
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from app.security import LABEL_PATHS, Policy, new_token
from app.services.studio import Studio
from app.web import create_app
from tests.test_services import MACHINE
from tests.voting_sets import draw_set

OWNER, HELPER = new_token(), new_token()
NAME = "dogs"
ALLOWED = {
    "/label",
    "/label/",
    "/label/zh/",
    "/label/ask/{name}",
    "/label/zh/ask/{name}",
    "/file/pref/{set_name}/{token}",
    "/ready",
}


def client_of(app: object) -> TestClient:
    return TestClient(app, base_url="http://127.0.0.1:7860", follow_redirects=False)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The real app with all its pages, guarded by two tokens; a client without any."""
    data = tmp_path_factory.mktemp("data")
    draw_set(data / "preferences" / NAME, 2, 2)
    app = create_app(Studio(data, machine=MACHINE), policy=Policy(token=OWNER, label_token=HELPER))
    with client_of(app) as client:
        app.state.pages.opened.wait(60)
        assert not app.state.pages.error
        yield client


@pytest.fixture
def helper(opened: TestClient) -> TestClient:
    """A browser that came by the link for labelling. Not entered: that would start the app once more."""
    client = client_of(opened.app)
    answer = client.get(f"/enter?t={HELPER}&set={NAME}")
    assert answer.status_code == 303 and answer.headers["location"] == f"/label/?set={NAME}"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie
    return client


def paths(routes: list[BaseRoute], prefix: str = "") -> Iterator[str]:
    """Of routes, of what is mounted, and of routers that were included."""
    for route in routes:
        inner = getattr(route, "original_router", route)
        if isinstance(route, Mount) or inner is not route:
            yield from paths(list(inner.routes or []), prefix + getattr(route, "path", ""))
        elif hasattr(route, "path"):
            yield prefix + route.path


def filled(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "x", path)


def every_path(client: TestClient) -> list[str]:
    """Of the own routes and of all that the pages bring with them."""
    app = client.app
    inner = app.state.pages._built  # type: ignore[attr-defined]
    found = {*paths(app.routes), *paths(inner.routes)}  # type: ignore[attr-defined]
    return sorted(found)


def test_a_helper_can_label(helper: TestClient) -> None:
    page = helper.get(f"/label/?set={NAME}")
    assert page.status_code == 200 and 'id="label"' in page.text
    for address in re.findall(r'(?:src|href)="(/[^"]+)"', page.text):
        assert helper.get(address).status_code == 200, address
    assert helper.get("/label/zh/").status_code == 200
    for place in ("/label/ask", "/label/zh/ask"):
        assert helper.post(f"{place}/sets", json=0).json()["sets"][0]["name"] == NAME
    found = helper.post("/label/ask/next", json=[NAME, "ann", "unseen", [], False]).json()
    item = found["items"][0]
    picture = helper.get(f"/file/pref/{NAME}/{item['left']}")
    assert picture.status_code == 200 and picture.headers["content-type"] == "image/png"
    ballot = {"vote_id": "vote00000001", "key": item["key"], "left": item["left"], "choice": "left", "ms": 900}
    assert helper.post("/label/ask/vote", json=[NAME, "ann", ballot, "unseen", []]).json()["saved"] == "vote00000001"
    assert helper.post("/label/ask/stats", json=NAME).json()["votes"] == 1
    assert helper.post("/label/ask/undo", json=[NAME, "ann", "vote00000001", "unseen"]).json()["done"] == 0


def test_every_other_route_is_closed_to_a_helper(helper: TestClient, opened: TestClient) -> None:
    closed = [path for path in every_path(opened) if path not in ALLOWED and not path.startswith("/ui/")]
    assert len(closed) > 60 and any("/gradio_api/component_server" in path for path in closed)
    wrong = []
    for path in closed:
        for method in ("GET", "POST", "HEAD", "PUT", "DELETE"):
            code = helper.request(method, filled(path)).status_code
            if code != 403:
                wrong.append((method, path, code))
    assert wrong == []


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/zh/",
        "/config",
        "/gradio_api/component_server",
        "/gradio_api/queue/join",
        "/gradio_api/upload",
        "/gradio_api/file=/etc/passwd",
        "/file/set/dogs/x",
        "/thumb/set/dogs/x",
        "/file/adapter/x/y",
        "/file/data/x/y",
        "/label/../config",
        "/label/%2e%2e/config",
        "/label/ask/../../config",
        "/label//",
        "/label/x",
        "/ui/configs/x.json",
        "/ui/js/../configs/x.json",
        "/ui/tokenizers/x",
        "/file/pref/dogs/../../set/dogs/x",
        "/LABEL/",
        "/label/%0a",
    ],
)
def test_no_way_leads_past(helper: TestClient, path: str) -> None:
    for method in ("GET", "POST"):
        assert helper.request(method, path).status_code == 403


def test_the_guard_looks_at_the_path_that_is_routed(opened: TestClient) -> None:
    """A client may send a path that no browser sends, with its dots."""
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/label/../config",
        "raw_path": b"/label/",
        "query_string": b"",
        "headers": [(b"host", b"127.0.0.1"), (b"cookie", f"atelier_label={HELPER}".encode())],
        "client": ("127.0.0.1", 1),
        "scheme": "http",
        "root_path": "",
    }
    assert LABEL_PATHS.fullmatch(str(scope["path"])) is None


def test_websockets_are_closed_to_a_helper(helper: TestClient) -> None:
    for path in ("/label/", "/gradio_api/queue/join"):
        with pytest.raises(WebSocketDisconnect), helper.websocket_connect(path):
            pass


def test_a_helper_cannot_become_the_owner(helper: TestClient, opened: TestClient) -> None:
    for cookie in (f"atelier={HELPER}", f"atelier_label={OWNER}", "atelier=", "atelier_label="):
        client = client_of(opened.app)
        assert client.get("/label/", headers={"Cookie": cookie}).status_code == 401
    assert helper.post("/label/ask/sets", json=0, headers={"Origin": "https://evil.example"}).status_code == 403


def test_the_owner_stays_the_owner_after_a_look_at_the_link(opened: TestClient) -> None:
    client = client_of(opened.app)
    assert client.get(f"/enter?t={OWNER}").headers["location"] == "/"
    client.get(f"/enter?t={HELPER}")
    assert client.get("/config").status_code == 200 and client.get("/label/").status_code == 200


def test_without_a_token_in_the_policy_no_cookie_opens_anything(tmp_path: Path) -> None:
    app = create_app(Studio(tmp_path, machine=MACHINE), policy=Policy(token=OWNER))
    client = client_of(app)
    assert client.get("/enter?t=").status_code == 401
    assert client.get("/label/", headers={"Cookie": "atelier_label="}).status_code == 401
    app.state.studio.close()


@pytest.mark.parametrize("body", [b"", b"{", b"null", b"[1]", b'{"a": 1}', b"[" * 50_000, b'"' + b"x" * 200_000 + b'"'])
def test_questions_that_no_page_asks_are_refused(helper: TestClient, body: bytes) -> None:
    for name in ("next", "vote", "undo"):
        assert helper.post(f"/label/ask/{name}", content=body).status_code == 400
    assert helper.post("/label/ask/label_link", content=b"0").status_code == 404
    assert "error" in helper.post("/label/ask/stats", json="../x").json()


def test_scores_before_the_vote_are_not_for_helpers(helper: TestClient) -> None:
    found = helper.post("/label/ask/next", json=[NAME, "bob", "unseen", [], True]).json()
    assert found["items"] and "scores" not in found["items"][0]


def test_pictures_cannot_be_told_apart_by_what_comes_with_them(helper: TestClient) -> None:
    items = helper.post("/label/ask/next", json=[NAME, "bob", "unseen", [], False]).json()["items"]
    answers = [helper.get(f"/file/pref/{NAME}/{items[0][side]}") for side in ("left", "right")]
    for answer, side in zip(answers, ("left", "right"), strict=True):
        assert answer.headers["etag"] == f'"{items[0][side]}"' and "1970" in answer.headers["last-modified"]
        assert answer.headers["cache-control"].startswith("private")
    names = [{name for name, _ in answer.headers.items()} for answer in answers]
    assert names[0] == names[1] and "content-disposition" not in names[0]
    assert helper.get(f"/file/pref/{NAME}/AAAAAAAAAAAAAAAAAAAAAA").status_code == 404
    assert helper.get(f"/file/pref/no-such/{items[0]['left']}").status_code == 404


def test_own_routes_are_named_here(opened: TestClient) -> None:
    own = {route.path for route in opened.app.routes if isinstance(route, APIRoute)}  # type: ignore[attr-defined]
    assert {path for path in own if LABEL_PATHS.fullmatch(filled(path))} == {"/file/pref/{set_name}/{token}", "/ready"}


def test_a_helper_who_comes_too_early_sees_the_splash(tmp_path: Path) -> None:
    client = client_of(create_app(studio := Studio(tmp_path, machine=MACHINE)))  # not entered: no pages are built
    for path in ("/label/", "/label/zh/"):
        assert "/ready" in client.get(path).text
    studio.close()
