"""Errors that a user can mend. Each says what is wrong and what to do about it."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_STOPPED = 130


class AtelierError(Exception):
    """Base of all errors that are shown to people without a traceback."""

    exit_code = EXIT_FAILED

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.hint = message, hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ConfigError(AtelierError):
    """A value of the configuration cannot be used. `field` is its dotted path, as in `data.resolution`."""

    exit_code = EXIT_USAGE

    def __init__(self, field: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.field = field

    def __str__(self) -> str:
        return f"{self.field}: {super().__str__()}"


class ConfigErrors(AtelierError):
    """Several `ConfigError`s found at once."""

    exit_code = EXIT_USAGE

    def __init__(self, errors: list[ConfigError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = errors


class StoppedEarly(AtelierError):
    """A person ended the run before it trained."""

    exit_code = EXIT_STOPPED


class DataError(AtelierError):
    """The pictures or captions cannot be used as they are."""

    exit_code = EXIT_USAGE


class MissingPackageError(AtelierError):
    """An optional package is needed; the hint names the line that installs it."""

    exit_code = EXIT_USAGE
