"""Charts: numeric channels of a job drawn together."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


class Chart:
    """A chart that the job defined: its name, and the channel's name for each series."""

    __slots__ = ("_name", "_series")

    def __init__(self, name: str, series: Mapping[str, str]) -> None:
        self._name = name
        self._series = MappingProxyType(dict(series))

    @property
    def name(self) -> str:
        """Unique in the job."""
        return self._name

    @property
    def series(self) -> Mapping[str, str]:
        """Channel names by the name of the series, in the order of the legend."""
        return self._series

    def __repr__(self) -> str:
        return f"Chart(name={self._name!r}, series={dict(self._series)!r})"
