"""Who is let in, and what the own routes give away."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from starlette.testclient import TestClient

from app import desktop
from app.main import main
from app.security import WRONG_TOKENS, Policy, is_loopback, new_token
from app.services.studio import Studio
from app.web import create_app
from tests.fake_worker import PNG
from tests.test_services import MACHINE
from tests.test_supervisor import PROGRAM, wait_for
from trainers.config import TrainConfig
from trainers.resolve import dump
from trainers.rundir import RunDir

TOKEN = new_token()
HTML = {"Accept": "text/html"}


def small_pages(studio: Studio) -> FastAPI:
    inner = FastAPI()
    inner.get("/")(lambda: PlainTextResponse("page"))
    inner.post("/act")(lambda: PlainTextResponse("acted"))
    return inner


Open = Callable[..., TestClient]


@pytest.fixture
def open_app(tmp_path: Path) -> Iterator[Open]:
    clients: list[TestClient] = []

    def make(policy: Policy | None = None) -> TestClient:
        app = create_app(Studio(tmp_path, machine=MACHINE), policy=policy, build=small_pages)
        client = TestClient(app, base_url="http://127.0.0.1:7860", follow_redirects=False)
        clients.append(client)
        client.__enter__()
        wait_for(app.state.pages.opened.is_set, "the pages")
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost:7860", "[::1]:7860", "LOCALHOST"])
def test_loopback_names_are_served(open_app: Open, host: str) -> None:
    assert open_app().get("/", headers={"Host": host}).text == "page"


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example:7860", "192.168.1.5", "", "a@localhost", "[::1"]
)
def test_other_names_are_refused(open_app: Open, host: str) -> None:
    answer = open_app().get("/", headers={"Host": host})
    assert answer.status_code == 403 and "page" not in answer.text


def test_a_name_can_be_allowed(open_app: Open) -> None:
    client = open_app(Policy(hosts={"studio.example"}))
    assert client.get("/", headers={"Host": "studio.example"}).status_code == 200


def test_addresses_are_known_when_the_whole_network_is(open_app: Open) -> None:
    client = open_app(Policy(bound="0.0.0.0"))
    assert client.get("/", headers={"Host": "192.168.1.5:7860"}).status_code == 200
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:7860"},
    ],
)
def test_other_sites_cannot_act(open_app: Open, headers: dict[str, str]) -> None:
    assert open_app().post("/act", headers=headers).status_code == 403


@pytest.mark.parametrize("headers", [{}, {"Origin": "http://127.0.0.1:7860", "Sec-Fetch-Site": "same-origin"}])
def test_the_own_page_can_act(open_app: Open, headers: dict[str, str]) -> None:
    assert open_app().post("/act", headers=headers).text == "acted"


def test_every_answer_has_the_security_headers(open_app: Open) -> None:
    for answer in (open_app().get("/"), open_app().get("/", headers={"Host": "evil.example"})):
        assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["x-frame-options"]
        assert answer.headers["referrer-policy"] == "no-referrer" and answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["/", "/ready", "/file/sample/0/a.png", "/file/adapter/0/a", "/thumb/0/a", "/act"])
def test_without_the_token_every_route_is_closed(open_app: Open, path: str) -> None:
    client = open_app(Policy(token=TOKEN))
    assert client.get(path, headers=HTML).status_code == 401
    assert client.get(path, headers={"Cookie": "atelier=wrong"}).status_code == 401


def test_the_link_with_the_token_opens_the_app(open_app: Open) -> None:
    client = open_app(Policy(token=TOKEN))
    answer = client.get(f"/enter?t={TOKEN}")
    assert answer.status_code == 303 and answer.headers["location"] == "/"
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie and "samesite=strict" in cookie and "secure" not in cookie
    assert client.get("/").text == "page"
    assert client.post("/act").text == "acted"


def test_over_https_the_cookie_stays_there(open_app: Open) -> None:
    client = open_app(Policy(token=TOKEN))
    answer = client.get(f"/enter?t={TOKEN}", headers={"X-Forwarded-Proto": "https"})
    assert "secure" in answer.headers["set-cookie"].lower()


def test_guessing_is_slowed_down(open_app: Open) -> None:
    client = open_app(Policy(token=TOKEN))
    codes = [client.get(f"/enter?t=guess{n}").status_code for n in range(WRONG_TOKENS + 1)]
    assert codes == [401] * WRONG_TOKENS + [429]
    assert client.get(f"/enter?t={TOKEN}").status_code == 429, "the right one waits too, or guessing would go on"


def make_run(data_dir: Path) -> None:
    run = RunDir(data_dir / "runs" / "dog")
    run.create(dump(TrainConfig()))
    (run.samples / "größe 1.png").write_bytes(PNG)
    (run.samples / "notes.txt").write_text("secret")
    run.adapter("dog").write_bytes(b"weights")
    (data_dir / "outside.png").write_bytes(b"secret")
    (data_dir / "outside.safetensors").write_bytes(b"secret")
    (run.samples / "link.png").symlink_to(data_dir / "outside.png")


def test_files_of_runs_are_served_by_id(open_app: Open, tmp_path: Path) -> None:
    make_run(tmp_path)
    client = open_app()
    run_id = client.app.state.studio.runs()[0].id  # type: ignore[attr-defined]
    assert client.get(f"/file/sample/{run_id}/{quote('größe 1.png')}").content == PNG
    thumb = client.get(f"/thumb/{run_id}/{quote('größe 1.png')}")
    assert thumb.headers["content-type"] == "image/webp" and thumb.content[:4] == b"RIFF"
    adapter = client.get(f"/file/adapter/{run_id}/dog.safetensors")
    assert adapter.content == b"weights" and "attachment" in adapter.headers["content-disposition"]


@pytest.mark.parametrize(
    "path",
    [
        "sample/{run}/..%2f..%2f..%2foutside.png",
        "sample/{run}/..%2fdog.safetensors",
        "sample/{run}/%2fetc%2fpasswd",
        "sample/{run}/notes.txt",
        "sample/{run}/link.png",
        "sample/{run}/a%00.png",
        "sample/{run}/..",
        "sample/unknown/a.png",
        "sample/..%2fdog/a.png",
        "adapter/{run}/config.toml",
        "adapter/{run}/..%2f..%2foutside.safetensors",
        "adapter/{run}/..%5c..%5coutside.safetensors",
    ],
)
def test_nothing_else_is_served(open_app: Open, tmp_path: Path, path: str) -> None:
    make_run(tmp_path)
    client = open_app()
    run_id = client.app.state.studio.runs()[0].id  # type: ignore[attr-defined]
    answer = client.get(f"/file/{path.format(run=run_id)}")
    assert answer.status_code == 404 and b"secret" not in answer.content


def test_a_splash_is_shown_until_the_pages_are_built(tmp_path: Path) -> None:
    go_on = threading.Event()

    def slow_pages(studio: Studio) -> FastAPI:
        assert go_on.wait(20)
        return small_pages(studio)

    app = create_app(Studio(tmp_path, machine=MACHINE), build=slow_pages)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/ready").json() == {"ready": False, "app": "atelier", "error": ""}
        assert "/ready" in client.get("/").text
        assert client.get("/gradio_api/info").status_code == 503
        go_on.set()
        wait_for(lambda: client.get("/ready").json()["ready"], "the pages")
        assert client.get("/").text == "page"


def test_pages_that_cannot_be_built_say_so(tmp_path: Path) -> None:
    def broken(studio: Studio) -> FastAPI:
        raise RuntimeError("broken on purpose")

    app = create_app(Studio(tmp_path, machine=MACHINE), build=broken)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        wait_for(lambda: client.get("/ready").json()["error"], "the error")


# the program around the server


def test_a_taken_port_leads_to_the_next() -> None:
    with desktop.listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with desktop.listen("127.0.0.1", port) as second:
            assert second.getsockname()[1] > port


def test_a_foreign_address_is_refused_with_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--host", "192.0.2.1", "--no-browser", "--data-dir", str(tmp_path)]) == 2
    assert "192.0.2.1" in capsys.readouterr().err


def test_one_instance_holds_a_data_folder(tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from app.desktop import InstanceLock\n"
        f"print(InstanceLock(Path({str(tmp_path)!r})).take('http://127.0.0.1:1/', 'atelier_1'), flush=True)\n"
        "time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", script], cwd=PROGRAM, stdout=subprocess.PIPE)
    assert other.stdout and other.stdout.readline().strip() == b"True"
    lock = desktop.InstanceLock(tmp_path)
    found = lock.other()
    assert found and found.pid == other.pid and not lock.take("http://127.0.0.1:2/", "atelier_2")
    assert (tmp_path / "instance.json").stat().st_mode & 0o077 == 0
    assert not found.answers(), "nothing serves there"
    other.kill()
    other.wait()
    other.stdout.close()
    assert lock.other() is None and lock.take("http://127.0.0.1:2/", "atelier_2")
    lock.release()
    assert not (tmp_path / "instance.json").exists()


def test_loopback_is_told_from_the_rest() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1", "127.0.0.9")))
    assert not any(map(is_loopback, ("0.0.0.0", "192.168.1.5", "example.org", "")))
