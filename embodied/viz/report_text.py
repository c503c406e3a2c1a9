"""How reports write figures, and what they say about repeating a run."""

from __future__ import annotations

from embodied import config as configuration
from embodied.results import Metric, describe_machine, get_package_versions


def format_interval(metric: Metric) -> str:
    """Return a figure with its 95 % interval as text."""
    return f"{metric.value:.2f} [{metric.ci95[0]:.2f}, {metric.ci95[1]:.2f}]"


def format_gain(metric: Metric, digits: int = 2) -> str:
    """Return a difference with its sign and its 95 % interval as text."""
    low, high = metric.ci95
    return f"{metric.value:+.{digits}f} [{low:+.{digits}f}, {high:+.{digits}f}]"


def list_facts(settings: object, line: str, minutes: float, seeds: str) -> list[tuple[str, str]]:
    """Return what repeating a demo takes, name and value."""
    box = describe_machine()
    return [
        ("command", line),
        ("time", f"{minutes:.1f} minutes"),
        ("machine", f"{box['cpu']}, {box['cores']} cores, {box['memory_gb']} GB"),
        ("seeds", seeds),
        (
            "settings",
            f"digest {configuration.digest(settings)}, saved as config.yaml beside this page",
        ),
        (
            "versions",
            ", ".join(f"{name} {version}" for name, version in get_package_versions().items()),
        ),
    ]
