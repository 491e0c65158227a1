"""What can be known before anything loads: faults with their remedy, and the plan. No torch."""

from trainers.preflight.finding import Count, Finding, Fix, Level, Reasons
from trainers.preflight.pairs import PairScanner
from trainers.preflight.pairs import glance as glance_pairs
from trainers.preflight.report import Report, Scanner, check, glance, thorough
from trainers.preflight.words import WORDS

__all__ = [
    "WORDS",
    "Count",
    "Finding",
    "Fix",
    "Level",
    "PairScanner",
    "Reasons",
    "Report",
    "Scanner",
    "check",
    "glance",
    "glance_pairs",
    "thorough",
]
