"""Opens the studio: `python -m app [--host --port --share --no-browser --data-dir DIR --allow-host NAME]`."""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import shutil
import socket
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

from trainers import paths
from trainers.errors import EXIT_DONE, EXIT_FAILED, EXIT_USAGE, AtelierError

# Gradio reads it when it is imported
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

import uvicorn
from fastapi import FastAPI

from app import desktop
from app.security import WILDCARDS, Policy, is_loopback, new_token
from app.services.format import count
from app.services.studio import Studio
from app.web import create_app

__all__ = ["create_app", "main"]

log = logging.getLogger(__name__)

GRACE_S = 2  # event streams of open pages would hold the server up for longer


def main(argv: list[str] | None = None) -> int:
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    data_dir = paths.absolute(args.data_dir) if args.data_dir else paths.data_dir()
    lock = desktop.InstanceLock(data_dir)
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        if _show_other(lock, data_dir, args.no_browser):
            return EXIT_DONE
        server_socket = desktop.listen(args.host, args.port)
    except OSError as error:
        print(f"Atelier cannot start on {args.host}:{args.port} with {data_dir}: {error}.", file=sys.stderr)
        return EXIT_USAGE
    port = server_socket.getsockname()[1]
    if port != args.port and args.port:
        print(f"Port {args.port} is taken; using {port}.")
    policy = _policy(args, port)
    url = _url(args.host, port, policy.token)
    if not lock.take(url, policy.cookie):
        server_socket.close()
        return EXIT_DONE if _show_other(lock, data_dir, args.no_browser) else EXIT_FAILED
    try:
        _prepare_process(data_dir)
        return _serve(args, server_socket, policy, Studio(data_dir), url)
    except AtelierError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    finally:
        lock.release()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="launch.py", description="Open Atelier.")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on; 0.0.0.0 for the whole network")
    parser.add_argument("--port", type=_port, default=7860, help="the next free one is taken if it is in use")
    parser.add_argument("--share", action="store_true", help="make a public link, guarded by a key")
    parser.add_argument("--no-browser", action="store_true", help="open no window")
    parser.add_argument("--data-dir", help="folder for runs, models and settings (default: ~/Atelier)")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="NAME", help="name that it is known by behind a proxy"
    )
    return parser


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


def _show_other(lock: desktop.InstanceLock, data_dir: Path, no_browser: bool) -> bool:
    """Open the page of the instance that works on this data folder already; False when there is none that answers."""
    other = lock.other()
    if other is None or not other.answers(desktop.ANSWER_WAIT_S):
        return False
    print(f"Atelier already runs with {data_dir}: {other.url}")
    if not no_browser:
        desktop.open_window(other.url, data_dir / "window")
    return True


def _policy(args: argparse.Namespace, port: int) -> Policy:
    """Others can reach the app, by the network, a tunnel or a proxy: then a token guards it."""
    open_to_others = args.share or args.allow_host or not is_loopback(args.host)
    hosts = {name.lower() for name in args.allow_host}
    token, label_token = (new_token(), new_token()) if open_to_others else ("", "")
    # cookies are shared by all ports of a host
    return Policy(args.host.lower(), hosts, token, f"atelier_{port}", label_token)


def _url(host: str, port: int, token: str) -> str:
    name = "127.0.0.1" if host in WILDCARDS else f"[{host}]" if ":" in host else host
    return f"http://{name}:{port}/" + (f"enter?t={token}" if token else "")


def _prepare_process(data_dir: Path) -> None:
    """Give the process an empty folder to work in and one for uploads: Gradio serves files below both."""
    work, temp = data_dir / "cwd", data_dir / "tmp"
    for folder in (work, temp):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.chdir(work)
    tempfile.tempdir = str(temp)
    os.environ["GRADIO_TEMP_DIR"] = str(temp / "gradio")
    os.environ["ATELIER_DATA_DIR"] = str(data_dir)
    for name in ("NO_PROXY", "no_proxy"):
        known = os.environ.get(name, "")
        os.environ[name] = ",".join(filter(None, [known, "127.0.0.1,localhost,::1"]))


def _serve(args: argparse.Namespace, server_socket: socket.socket, policy: Policy, studio: Studio, url: str) -> int:
    app = create_app(studio, policy=policy)
    config = uvicorn.Config(
        app,
        log_level="warning",
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    server = uvicorn.Server(config)
    print(f"Atelier: {url}", flush=True)
    if not args.no_browser:
        desktop.open_window(url, studio.data_dir / "window")
    if args.share:
        port = server_socket.getsockname()[1]
        threading.Thread(target=_share, args=(app, policy, port), name="share", daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again when it has closed down
        server.run(sockets=[server_socket])
    running = len(studio.active_runs())
    if running:
        goes_on = "keeps" if running == 1 else "keep"
        print(f"\nAtelier is closed; {count(running, 'run')} {goes_on} training. Open it again to watch.")
    return EXIT_DONE


def _share(app: FastAPI, policy: Policy, port: int) -> None:
    from app.share import open_tunnel

    app.state.pages.opened.wait()  # two threads must not import Gradio at the same time
    try:
        address = open_tunnel(port, policy.token)
    except RuntimeError as error:
        print(f"No share link could be made: {error}. Atelier goes on at the address above.", flush=True)
        return
    policy.hosts.add(urlsplit(address).hostname or "")
    app.state.studio.preferences.voting.label_address = address
    print(f"Share link: {address}/enter?t={policy.token}", flush=True)
    print(f"To label pictures only: {address}/enter?t={policy.label_token}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
