"""Why a worker ended, in plain words."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.jobs.states import State
from trainers.errors import EXIT_DONE, EXIT_STOPPED, EXIT_USAGE

RESUME_HINT = "Resume goes on from what was saved last."
TAIL_BYTES = 4096
# exit codes with which Windows ends a process
WINDOWS_ACCESS_VIOLATION, WINDOWS_NO_MEMORY, WINDOWS_CLOSED = 0xC0000005, 0xC0000017, 0xC000013A


@dataclass(frozen=True)
class Verdict:
    """What became of a run, why, and what to do."""

    state: State
    reason: str = ""
    hint: str = ""


def judge(exit_code: int | None, outcome: dict[str, Any] | None, log: Path) -> Verdict:
    """The end of a run. exit_code: negative for a signal, None when nobody saw it; outcome: the worker's last word.

    Only the event `run_finished` makes a run done: a process that ends well but is silent has left no file.
    """
    if outcome and outcome["kind"] == "run_finished":
        if outcome.get("stopped"):
            if summary := outcome.get("summary"):
                return Verdict("stopped", f"Stopped by you: {summary}.", "Resume goes on from there.")
            return Verdict("stopped", f"Stopped by you at step {outcome.get('step')}.", "Resume goes on from there.")
        return Verdict("done", str(outcome.get("summary") or ""))
    if outcome:
        state: State = "stopped" if exit_code == EXIT_STOPPED else "failed"
        return Verdict(state, str(outcome.get("message", "")), str(outcome.get("hint") or ""))
    if exit_code == EXIT_STOPPED:
        return Verdict("stopped", "Stopped by you.", RESUME_HINT)
    if exit_code is None:
        reason = "The worker ended without saying why: it was killed, or the computer went off."
        return Verdict("interrupted", reason, RESUME_HINT)
    if killed := _killed_by(exit_code):
        return Verdict("interrupted", f"The worker {killed}.", RESUME_HINT)
    if exit_code == EXIT_DONE:
        return Verdict("interrupted", "The worker ended before the run did.", RESUME_HINT)
    what = "The settings were refused" if exit_code == EXIT_USAGE else f"The worker ended with exit code {exit_code}"
    last = last_line(log)
    return Verdict("failed", f"{what}: {last}" if last else f"{what}.", "The log has the details.")


def _killed_by(exit_code: int) -> str:
    if exit_code == WINDOWS_NO_MEMORY:
        return "was ended by Windows for want of memory"
    if exit_code == WINDOWS_CLOSED:
        return "was closed with its console"
    if exit_code == WINDOWS_ACCESS_VIOLATION:
        return "crashed (access violation)"
    if exit_code >= 0:
        return ""
    name = signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
    return {
        "SIGKILL": "was killed by the system, probably out of memory",
        "SIGTERM": "was ended by another program (SIGTERM)",
        "SIGHUP": "was ended with its terminal (SIGHUP)",
        "SIGINT": "was interrupted (SIGINT)",
    }.get(name, f"crashed ({name})")


def last_line(log: Path) -> str:
    """The last line of a log that says something, 300 letters at most."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return ""
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")
