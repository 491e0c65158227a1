"""Numbers as people read them: "4 min 20 s", "10.8 GB"."""

from __future__ import annotations

from trainers import plan


def duration(seconds: float | None) -> str:
    """As in "41 s", "4 min 20 s", "2 h 5 min"; a dash for None."""
    return "-" if seconds is None else plan.duration(max(0.0, seconds))


def size(count_bytes: float) -> str:
    """As in "12 kB", "3.4 MB", "10.8 GB"; a unit is 1024 of the one before, as for memory sizes in this program."""
    value = float(count_bytes)
    for unit in ("bytes", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit in ("bytes", "kB") else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GB"


def gib(value: float) -> str:
    """A size in GiB, as in "10.8 GB"; small ones in MB."""
    return f"{value:.1f} GB" if value >= 0.95 else f"{value * 1024:.0f} MB"


def count(number: int, noun: str) -> str:
    """As in "1 step", "3,000 steps"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
