"""The launcher: its commands, the choice of a torch build, set-up and what it says when something is wrong."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import launch
from app.launcher import doctor, environment, pip
from app.launcher.environment import GIB, Environment, Stamp, check_space, hold, make_venv, set_up
from app.launcher.errors import SetupError
from app.launcher.torch_build import Card, TorchBuild, choose_build, parse_cards

PYPI = TorchBuild("default", "", 2, "a test")
NO_NETWORK = """\
WARNING: Location 'file:///x' is ignored: it is neither a file nor a directory.
WARNING: Retrying (Retry(total=0)) after connection broken by 'NewConnectionError: [Errno 101] Network is unreachable'
ERROR: Could not find a version that satisfies the requirement gradio==6.31.0 (from versions: none)
ERROR: No matching distribution found for gradio==6.31.0
"""


def card(name: str = "RTX 4090", driver: int = 580, capability: float = 8.9) -> Card:
    return Card(name, driver, 24, capability)


@pytest.fixture
def env(tmp_path: Path) -> Environment:
    (tmp_path / "requirements.txt").write_text("torch==2.13.0\n")
    (tmp_path / "requirements-test.txt").write_text("pytest==9.2.0\n")
    (tmp_path / "requirements-scorers.txt").write_text("rtmlib==0.0.16\n")
    return Environment(tmp_path)


@pytest.fixture
def installed(env: Environment, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fakes venv and pip. Holds what was done: "venv", or the arguments of an installation."""
    done: list[str] = []
    monkeypatch.setattr(environment, "make_venv", lambda env, build: done.append("venv"))
    monkeypatch.setattr(
        environment, "pip_install", lambda python, log, title, arguments: done.append(" ".join(arguments))
    )
    monkeypatch.setattr(Environment, "python_version", lambda env: "3.11" if "venv" in done else "")
    monkeypatch.setattr(environment, "build_for_this_machine", lambda: PYPI)
    monkeypatch.setattr(environment, "card_maker", lambda: "none")
    return done


def pip_names(done: list[str]) -> list[str]:
    return [Path(step).name for step in done]


# Python


def test_an_old_python_is_told_what_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    message = launch.old_python_message((3, 8, 18), "/usr/bin/python3")
    assert "needs Python 3.11 or newer; this is Python 3.8 (/usr/bin/python3)" in message
    assert "python.org" in message


def test_an_old_python_is_told_of_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: "found" if name == "python3.12" else None)
    assert "python3.12 launch.py" in launch.old_python_message((3, 8), "python3")


def test_launch_parses_on_python_3_6() -> None:
    source = Path(launch.__file__).read_text()
    tree = ast.parse(source, feature_version=(3, 6))
    names = [alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) for alias in node.names]
    assert "annotations" not in names, "from __future__ import annotations is a syntax error there"


def test_the_version_check_comes_before_imports_of_the_project() -> None:
    body = ast.parse(Path(launch.__file__).read_text()).body
    check = next(index for index, node in enumerate(body) if isinstance(node, ast.If))
    late = [index for index, node in enumerate(body) if isinstance(node, ast.ImportFrom) and node.module != "pathlib"]
    assert late and min(late) > check


# The torch build


@pytest.mark.parametrize(
    ("system", "machine", "cards", "amd", "expected"),
    [
        ("Windows", "AMD64", None, False, ""),
        ("Windows", "AMD64", [card()], False, "cu130"),
        ("Windows", "AMD64", [], False, "cu130"),
        ("Windows", "AMD64", [card("GTX 1080", capability=6.1)], False, "cu126"),
        ("Linux", "x86_64", [card()], False, ""),
        ("Linux", "x86_64", [card("P100", capability=6.0)], False, "cu126"),
        ("Linux", "x86_64", [card("T4", driver=550, capability=7.5)], False, "cu126"),
        ("Linux", "x86_64", [card("RTX 5090", driver=570, capability=12.0)], False, ""),
        ("Linux", "x86_64", [card("P100", capability=6.0), card()], False, ""),
        ("Linux", "aarch64", [card("Thor", driver=550, capability=9.0)], False, ""),
        ("Linux", "x86_64", None, True, "rocm7.2"),
        ("Linux", "x86_64", [card()], True, ""),
        ("Linux", "x86_64", None, False, ""),
        ("Darwin", "arm64", None, False, ""),
    ],
)
def test_torch_build_by_machine(system: str, machine: str, cards: list[Card] | None, amd: bool, expected: str) -> None:
    build = choose_build(system, machine, cards, amd)
    assert build.index_url.rpartition("/")[2] == expected
    assert build.why


def test_cards_are_read_from_nvidia_smi() -> None:
    table = "NVIDIA GeForce RTX 4090, 580.65.06, 24564, 8.9\nNVIDIA H200, 550.1, 143771, 9.0\nNo devices were found\n"
    first, second = parse_cards(table)
    assert (first.name, first.driver, round(first.memory_gib), first.capability) == (
        "NVIDIA GeForce RTX 4090",
        580,
        24,
        8.9,
    )
    assert second.driver == 550


# Set-up


def test_a_second_setup_does_nothing(env: Environment, installed: list[str]) -> None:
    set_up(env)
    assert pip_names(installed) == ["venv", "requirements.txt"]
    installed[1:] = []
    set_up(env)
    assert installed == ["venv"]


def test_new_requirements_are_installed_into_the_same_environment(env: Environment, installed: list[str]) -> None:
    set_up(env)
    env.requirements.write_text("torch==2.14.0\n")
    set_up(env)
    assert pip_names(installed) == ["venv", "requirements.txt", "requirements.txt"]


def test_the_tests_packages_come_with_the_first_test(env: Environment, installed: list[str]) -> None:
    set_up(env)
    set_up(env, with_tests=True)
    set_up(env, with_tests=True)
    set_up(env)
    assert pip_names(installed) == ["venv", "requirements.txt", "requirements-test.txt", "requirements-scorers.txt"]


def test_what_requirements_include_counts_too(env: Environment, installed: list[str]) -> None:
    env.test_requirements.write_text("-r requirements-formats.txt\n")
    formats = env.test_requirements.with_name("requirements-formats.txt")
    for pin in ("av==18.1.0\n", "av==18.2.0\n"):
        formats.write_text(pin)
        set_up(env, with_tests=True)
    assert pip_names(installed)[1:] == ["requirements.txt", *["requirements-test.txt", "requirements-scorers.txt"] * 2]


def test_another_build_of_torch_needs_another_environment(
    env: Environment, installed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(env)
    monkeypatch.setattr(environment, "card_maker", lambda: "nvidia")
    monkeypatch.setattr(
        environment, "build_for_this_machine", lambda: TorchBuild("CUDA", "https://x/cu130", 6, "a card")
    )
    set_up(env)
    assert installed[2:4] == ["venv", "torch==2.13.0 --index-url https://x/cu130"]


def test_the_build_stays_while_the_card_does(
    env: Environment, installed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_up(env)
    monkeypatch.setattr(
        environment, "build_for_this_machine", lambda: TorchBuild("CUDA", "https://x/cu126", 6, "driver")
    )
    set_up(env)
    assert installed.count("venv") == 1
    set_up(env, choose_again=True)
    assert installed.count("venv") == 2


def test_a_setup_that_was_cut_off_begins_again(
    env: Environment, installed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(environment, "pip_install", interrupted)
        set_up(env)
    assert not env.stamp.exists()
    set_up(env)
    assert pip_names(installed) == ["venv", "venv", "requirements.txt"]
    assert env.stamp.exists() and not env.lock.exists()


def test_a_failed_update_leaves_no_stamp_and_goes_on_next_time(
    env: Environment, installed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*arguments: object) -> None:
        raise SetupError("no network", "connect")

    set_up(env)
    env.requirements.write_text("torch==2.14.0\n")
    with monkeypatch.context() as patch, pytest.raises(SetupError):
        patch.setattr(environment, "pip_install", offline)
        set_up(env)
    assert not env.stamp.exists()
    set_up(env)
    assert pip_names(installed) == ["venv", "requirements.txt", "requirements.txt"]


def test_tests_that_cannot_be_installed_leave_the_app_as_it_was(
    env: Environment, installed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*arguments: object) -> None:
        raise SetupError("no network", "connect")

    set_up(env)
    monkeypatch.setattr(environment, "pip_install", offline)
    with pytest.raises(SetupError):
        set_up(env, with_tests=True)
    set_up(env)


def test_only_one_setup_at_a_time(env: Environment, installed: list[str]) -> None:
    with env.lock.open("a") as file:
        hold(file)
        with pytest.raises(SetupError, match="Another set-up"):
            set_up(env)
    assert installed == []


def test_a_folder_that_cannot_be_written_to_is_named(env: Environment, installed: list[str]) -> None:
    env.lock.mkdir()  # opening it for writing fails, also for root
    with pytest.raises(SetupError, match="Nothing can be written") as raised:
        set_up(env)
    assert str(env.root) in str(raised.value)


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"core": "x"}', '{"build": {"no": 1}}'])
def test_a_stamp_that_cannot_be_read_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "stamp").write_text(content)
    assert Stamp.read(tmp_path / "stamp") is None


def test_a_stamp_is_read_as_it_was_written(tmp_path: Path) -> None:
    stamp = Stamp("core", "tests", "nvidia", PYPI)
    stamp.write(tmp_path / "stamp")
    assert Stamp.read(tmp_path / "stamp") == stamp


def test_digest_depends_on_requirements_python_and_build(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Environment, "python_version", lambda env: "3.11")
    digests = [env.wanted(PYPI, "none").core]
    digests.append(env.wanted(TorchBuild("CUDA", "https://x", 6, ""), "none").core)
    monkeypatch.setattr(Environment, "python_version", lambda env: "3.12")
    digests.append(env.wanted(PYPI, "none").core)
    env.requirements.write_text("torch==2.14.0\n")
    digests.append(env.wanted(PYPI, "none").core)
    assert len(set(digests)) == 4


def test_a_broken_environment_has_no_python(env: Environment) -> None:
    assert env.python_version() == ""
    env.python.parent.mkdir(parents=True)
    env.python.write_text("no program")
    assert env.python_version() == ""


def test_an_environment_without_pip_counts_as_broken(env: Environment) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(env.folder)], check=True)
    assert env.python_version() == ""


def test_a_disk_that_is_too_small_is_found_before_anything_is_removed(
    env: Environment, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.folder.mkdir()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, GIB))
    with pytest.raises(SetupError, match=r"needs 2 GB, 1\.0 GB are free"):
        make_venv(env, PYPI)
    assert env.folder.exists()


def test_a_disk_with_room_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 2 * GIB))
    check_space(tmp_path, PYPI)


def test_a_python_without_ensurepip_is_told_the_package(env: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SetupError) as raised:
        make_venv(env, PYPI)
    assert "apt install python3-venv" in raised.value.hint


# pip


def failing_pip(folder: Path, output: str) -> Path:
    """A program in the place of the environment's Python that prints the output and fails."""
    (folder / "output").write_text(output)
    program = folder / "python"
    program.write_text(f"#!/bin/sh\ncat '{folder / 'output'}'\nexit 1\n")
    program.chmod(0o755)
    return program


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in for pip is a shell script")
def test_no_network_is_said_with_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(SetupError) as raised:
        pip.pip_install(failing_pip(tmp_path, NO_NETWORK), log, "Installing packages", ["-r", "x"])
    assert "Installing packages failed: there is no network" in raised.value.message
    assert "No matching distribution found for gradio==6.31.0" in raised.value.message
    assert str(log) in raised.value.message
    assert "is ignored" not in raised.value.message
    assert "Connect to the network" in raised.value.hint


@pytest.mark.parametrize(
    ("output", "cause"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: No matching distribution found for torch==2.13.0", "no build for this Python"),
        ("SSLError(SSLCertVerificationError(1, 'CERTIFICATE_VERIFY_FAILED'))", "certificate"),
        ("ERROR: [WinError 5] Access is denied: 'torch.dll'", "in use"),
        ("ERROR: something else", "could not go on"),
    ],
)
def test_causes_of_a_failed_pip(output: str, cause: str) -> None:
    found, remedy = pip.explain(output)
    assert cause in found
    assert remedy.endswith(".")


@pytest.mark.parametrize(
    ("line", "status"),
    [
        ("Collecting torch==2.13.0 (from -r requirements.txt (line 5))", "looking for torch"),
        ("  Downloading torch-2.13.0-cp311-cp311-win_amd64.whl (873.2 MB)", "downloading torch (873.2 MB)"),
        ("Processing /wheels/torch-2.13.0+cpu-cp311-cp311-linux_x86_64.whl", "reading torch"),
        ("Installing collected packages: sympy, torch", "unpacking the packages"),
        ("WARNING: Location 'x' is ignored: it is neither a file nor a directory.", ""),
        ("Requirement already satisfied: numpy", ""),
    ],
)
def test_status_of_pips_lines(line: str, status: str) -> None:
    assert pip.status_of(line) == status


def test_only_large_downloads_are_named_in_a_log() -> None:
    assert pip.takes_long("downloading torch (873.2 MB)")
    assert pip.takes_long("downloading torch (1.2 GB)")
    assert not pip.takes_long("downloading pip (1.8 MB)")
    assert not pip.takes_long("downloading six (11 kB)")


# Commands


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Fakes set-up and the start of a module. Holds the arguments that they got."""
    got: dict[str, Any] = {}

    def start(env: Environment, module: str, arguments: list[str]) -> int:
        got.update(module=module, arguments=arguments)
        return 7

    def set_up(env: Environment, **options: bool) -> None:
        got["set_up"] = {name for name, value in options.items() if value}

    monkeypatch.setattr(launch, "start", start)
    monkeypatch.setattr(launch, "set_up", set_up)
    monkeypatch.setenv("ATELIER_DATA_DIR", "unchanged")
    return got


def test_no_command_opens_the_app(env: Environment, started: dict[str, Any]) -> None:
    assert launch.main(["--port", "7870", "--no-browser"], env) == 7
    assert started == {"set_up": set(), "module": "app.main", "arguments": ["--port", "7870", "--no-browser"]}


@pytest.mark.parametrize("command", list(launch.TRAINER_COMMANDS))
def test_trainer_commands_go_to_the_trainer(env: Environment, started: dict[str, Any], command: str) -> None:
    assert launch.main([command, "x", "adapter.rank=8"], env) == 7
    assert started == {"set_up": set(), "module": "trainers.cli", "arguments": [command, "x", "adapter.rank=8"]}


def test_test_runs_pytest_in_the_program_folder(
    env: Environment, started: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path.home())
    assert launch.main(["test", "-k", "x"], env) == 7
    assert started == {"set_up": {"with_tests"}, "module": "pytest", "arguments": ["-k", "x"]}
    assert Path.cwd() == env.root


def test_setup_only_sets_up(env: Environment, started: dict[str, Any]) -> None:
    assert launch.main(["setup"], env) == 0
    assert started == {"set_up": {"choose_again"}}


@pytest.mark.parametrize("arguments", [["--data-dir", "data", "check", "x"], ["check", "x", "--data-dir=data"]])
def test_the_data_folder_is_told_by_environment(
    env: Environment, started: dict[str, Any], arguments: list[str]
) -> None:
    launch.main(arguments, env)
    assert started["arguments"] == ["check", "x"]
    assert launch.os.environ["ATELIER_DATA_DIR"] == str(Path("data").resolve())


@pytest.mark.parametrize("arguments", [["--data-dir"], ["train", "sandbox", "--data-dir="]])
def test_a_data_folder_without_name_is_wrong_usage(
    env: Environment, started: dict[str, Any], arguments: list[str]
) -> None:
    assert launch.main(arguments, env) == 2
    assert started == {}


@pytest.mark.parametrize("command", launch.LATER_COMMANDS)
def test_commands_to_come_are_said_to_be_not_built_yet(
    env: Environment, started: dict[str, Any], capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert launch.main([command, "x"], env) == 2
    assert f"{command}: not built yet" in capsys.readouterr().err
    assert started == {}


def test_an_unknown_command_is_answered_with_a_near_one(
    env: Environment, started: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert launch.main(["trian", "sandbox"], env) == 2
    assert "Did you mean train?" in capsys.readouterr().err
    assert started == {}


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_the_commands_that_work(
    env: Environment, started: dict[str, Any], capsys: pytest.CaptureFixture[str], option: str
) -> None:
    assert launch.main([option], env) == 0
    text = capsys.readouterr().out
    named = ("setup", "doctor", "test", *launch.TRAINER_COMMANDS, *launch.CAPTION_COMMANDS)
    assert all(f"launch.py {name}" in text for name in named)
    assert not any(f"launch.py {name}" in text for name in launch.LATER_COMMANDS)
    assert started == {}


def test_a_failed_setup_exits_with_1_and_the_remedy(
    env: Environment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(env: Environment, **options: bool) -> None:
        raise SetupError("The disk is too small.", "Free some space.")

    monkeypatch.setattr(launch, "set_up", full)
    assert launch.main([], env) == 1
    assert capsys.readouterr().err == "The disk is too small.\nFree some space.\n"


def test_exit_codes_pass_through(tmp_path: Path) -> None:
    (tmp_path / "leave.py").write_text("import sys; sys.exit(int(sys.argv[1]))")
    root = Path(launch.__file__).parent
    code = (
        f"import sys; sys.path.insert(0, {str(root)!r}); import launch; from pathlib import Path\n"
        f"env = launch.Environment(Path({str(tmp_path)!r})); env.python = Path(sys.executable)\n"
        "sys.exit(launch.start(env, 'leave', sys.argv[1:]))"
    )
    for expected in (0, 1, 2, 130):
        assert subprocess.run([sys.executable, "-c", code, str(expected)]).returncode == expected


# doctor


def finding_of(report: dict[str, Any], has_card: bool) -> doctor.Finding:
    return doctor.torch({"versions": {"torch": "2.13.0"}, "device": "processor", "error": "", **report}, has_card)


def test_doctor_finds_a_torch_that_does_not_see_the_card() -> None:
    assert "does not see" in finding_of({}, has_card=True).problem
    assert finding_of({}, has_card=False).problem == ""
    assert finding_of({"device": "NVIDIA L4"}, has_card=True).problem == ""


def test_doctor_finds_a_torch_that_does_not_load() -> None:
    assert "DLL load failed" in finding_of({"error": "DLL load failed"}, has_card=False).problem


def test_doctor_finds_changed_packages() -> None:
    pins = {"torch": "2.13.0", "gradio": "6.31.0"}
    assert doctor.packages(pins, {"torch": "2.13.0+cu130", "gradio": "6.31.0"}, ready=True).problem == ""
    changed = doctor.packages(pins, {"torch": "2.12.0", "gradio": ""}, ready=True).problem
    assert "torch 2.12.0 instead of 2.13.0" in changed and "gradio missing" in changed


def test_doctor_finds_a_data_folder_that_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "file"))
    assert "cannot be written to" in doctor.data_folder().problem
    monkeypatch.setenv("ATELIER_DATA_DIR", str(tmp_path / "new" / "folder"))
    assert doctor.data_folder().problem == ""


def test_doctor_says_that_nothing_is_wrong_or_how_many_problems(
    env: Environment, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    well = doctor.Finding("Disk", "much")
    ill = doctor.Finding("Network", "none", "No network.", "Connect.")
    monkeypatch.setattr(doctor, "look", lambda env: [well])
    assert doctor.doctor(env) == 0
    assert capsys.readouterr().out.endswith("Nothing is wrong.\n")
    monkeypatch.setattr(doctor, "look", lambda env: [well, ill])
    assert doctor.doctor(env) == 1
    assert "Problem 1: No network.\n    Connect." in capsys.readouterr().out
