#!/usr/bin/env python3
"""Start Atelier: make its environment when that is needed, then open the app or run a command.

Needs the standard library only. This file must parse on Python 3.6, so that an old Python gets a message and
no syntax error: no `from __future__ import annotations`, no `:=`, no `match`; imports of the project come late.
"""

import difflib
import os
import shutil
import subprocess
import sys
from pathlib import Path

OLDEST_PYTHON = (3, 11)


def old_python_message(version, executable):  # type: ignore[no-untyped-def]
    """What to tell someone whose Python is too old. version: as sys.version_info."""
    newer = [name for name in ("python3.14", "python3.13", "python3.12", "python3.11") if shutil.which(name)]
    remedy = "Install a newer one from https://www.python.org/downloads/ and start again."
    if newer:
        remedy = f"A newer one is on this computer. Start with: {newer[0]} launch.py"
    needed, found = f"{OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]}", f"{version[0]}.{version[1]}"
    return f"Atelier needs Python {needed} or newer; this is Python {found} ({executable}).\n{remedy}"


if sys.version_info < OLDEST_PYTHON:
    sys.exit(old_python_message(sys.version_info, sys.executable))

from app.launcher.doctor import doctor  # noqa: E402
from app.launcher.environment import Environment, set_up  # noqa: E402
from trainers.errors import EXIT_DONE, EXIT_FAILED, EXIT_STOPPED, EXIT_USAGE, AtelierError  # noqa: E402

# name -> (arguments, what it does); no name opens the app
OWN_COMMANDS = {
    "": ("[--host HOST] [--port PORT] [--share] [--no-browser] [--allow-host NAME]", "open the app"),
    "setup": ("", "only make or update the environment"),
    "doctor": ("", "what this machine has, and what is wrong with it"),
    "test": ("[pytest arguments]", "run the tests"),
}
TRAINER_COMMANDS = {
    "train": ("PRESET_OR_TOML [section.key=value ...] [--run-dir DIR]", "train an adapter, print where its file is"),
    "resume": ("RUN_DIR", "go on with a run that was stopped or interrupted"),
    "check": ("PRESET_OR_TOML [section.key=value ...]", "everything that can be known before training"),
    "sample": ("LORA_OR_RUN [key=value ...]", "draw pictures with an adapter"),
    "export": (
        "LORA --layout diffusers|kohya|comfyui --out FILE [--dtype bf16|fp16|fp32] [--base NAME_OR_FOLDER]",
        "write a LoRA of any program in another layout, and check it",
    ),
    "presets": ("", "table of presets"),
    "cache": ("[--prune DAYS]", "what the cache takes on disk; remove what is not wanted"),
    "families": ("", "table of model families"),
}
CAPTION_COMMANDS = {
    "caption": ("CAPTIONER FOLDER [key=value ...]", "write captions for the pictures of a folder"),
    "undo": ("RUN_DIR", "take back all that a captioning job wrote"),
    "captioners": ("", "table of captioners"),
}
PAIRS_COMMANDS = {
    "pairs": (
        "generate|score|build|stats|export|import|compare|report|scorers [arguments]",
        "draw pictures of prompts, score them, and make pairs of them to vote on and to train on",
    ),
}
MODULES = {
    "trainers.cli": TRAINER_COMMANDS,
    "captioners.cli": CAPTION_COMMANDS,
    "trainers.preferences.cli": PAIRS_COMMANDS,
}
LATER_COMMANDS = ("import",)
COMMANDS = dict(OWN_COMMANDS, **TRAINER_COMMANDS)
COMMANDS.update(CAPTION_COMMANDS)
COMMANDS.update(PAIRS_COMMANDS)
SEE_HELP = "All commands: python launch.py --help"


class UsageError(AtelierError):
    """The command line cannot be understood."""

    exit_code = EXIT_USAGE


def help_text() -> str:
    lines = ["usage: python launch.py [COMMAND] [arguments] [--data-dir DIR]", ""]
    for name, (arguments, meaning) in COMMANDS.items():
        lines += ["  " + " ".join(filter(None, ["launch.py", name, arguments])), f"      {meaning}"]
    lines += [
        "",
        "--data-dir DIR   folder of runs, data sets and models; otherwise ATELIER_DATA_DIR, or ~/Atelier",
        "",
        "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 stopped by you.",
    ]
    return "\n".join(lines)


def take_data_dir(arguments: list[str]) -> tuple[list[str], str]:
    """(the other arguments, DIR of `--data-dir DIR` or `--data-dir=DIR`, empty without). Raises UsageError."""
    rest, data_dir = [], ""
    remaining = iter(arguments)
    for argument in remaining:
        if argument == "--data-dir" or argument.startswith("--data-dir="):
            data_dir = argument.partition("=")[2] or next(remaining, "")
            if not data_dir:
                raise UsageError("--data-dir needs a folder.", SEE_HELP)
        else:
            rest.append(argument)
    return rest, data_dir


def check_command(command: str) -> None:
    """Raises UsageError for a command that does not exist, or not yet."""
    if command in LATER_COMMANDS:
        raise UsageError(f"{command}: not built yet.", SEE_HELP)
    if command not in COMMANDS:
        near = difflib.get_close_matches(command, filter(None, COMMANDS), n=1)
        hint = f"Did you mean {near[0]}?" if near else f"Commands: {', '.join(filter(None, COMMANDS))}."
        raise UsageError(f"There is no command {command!r}. {hint}", SEE_HELP)


def run(arguments: list[str], env: Environment) -> int:
    """Do what the arguments ask for. Returns the exit code; on Unix it becomes the process that does the work."""
    arguments, data_dir = take_data_dir(arguments)
    if arguments and arguments[0] in ("-h", "--help"):
        print(help_text())
        return EXIT_DONE
    command = "" if not arguments or arguments[0].startswith("-") else arguments[0]
    check_command(command)
    if data_dir:
        os.environ["ATELIER_DATA_DIR"] = str(Path(data_dir).expanduser().resolve())
    if command == "doctor":
        return EXIT_FAILED if doctor(env) else EXIT_DONE
    set_up(env, with_tests=command == "test", choose_again=command == "setup")
    if command == "setup":
        print("Everything is installed.")
        return EXIT_DONE
    if command == "test":
        os.chdir(env.root)
        return start(env, "pytest", arguments[1:])
    module = next((module for module, commands in MODULES.items() if command in commands), "app.main")
    return start(env, module, arguments)


def start(env: Environment, module: str, arguments: list[str]) -> int:
    """Run a module in the environment, from the folder that the person is in. Does not return on Unix."""
    paths = [str(env.root), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    # -P: a file of that folder that is named like a module must not take its place
    command = [str(env.python), "-P", "-m", module, *arguments]
    sys.stdout.flush()
    if os.name == "nt":
        return wait(command)
    os.execv(command[0], command)  # so that signals and Ctrl-C reach the real process


def wait(command: list[str]) -> int:
    """Run a process to its end. Ctrl-C reaches it too, from the console; it decides what to do about it."""
    killed_by_ctrl_c = 0xC000013A
    process = subprocess.Popen(command)
    while True:
        try:
            code = process.wait()
            return EXIT_STOPPED if code == killed_by_ctrl_c else code
        except KeyboardInterrupt:
            continue


def main(arguments: list[str], env: Environment) -> int:
    try:
        return run(arguments, env)
    except AtelierError as error:
        print(f"{error.message}\n{error.hint}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_STOPPED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Environment(Path(__file__).resolve().parent)))
