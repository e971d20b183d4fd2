"""The job's properties: texts by key.

Reading is from this process's own view; a change is handed to the native core at once and travels in the
background.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, MutableMapping

from deepsense.neptune._native import JobInternal
from deepsense.neptune.text import plain


class Properties(MutableMapping[str, str]):
    """Dict-like. Keys and values are turned into text; deleting a missing key changes nothing."""

    def __init__(self, core: JobInternal, properties: Mapping[str, str]) -> None:
        self._core = core
        self._properties = dict(properties)

    def replace(self, properties: Mapping[object, object]) -> None:
        """Makes these the job's only properties, as ``ctx.properties = properties`` does."""
        wanted = {plain(key): plain(value) for key, value in dict(properties).items()}
        for key in self._properties.keys() - wanted.keys():
            del self[key]
        for key, value in wanted.items():
            self[key] = value

    def __setitem__(self, key: object, value: object) -> None:
        key, value = plain(key), plain(value)
        self._core.set_property(key, value)
        self._properties[key] = value

    def __delitem__(self, key: object) -> None:
        key = plain(key)
        if key in self._properties:
            self._core.set_property(key, None)
            del self._properties[key]

    def __getitem__(self, key: object) -> str:
        return self._properties[plain(key)]

    def __contains__(self, key: object) -> bool:
        return plain(key) in self._properties

    def __iter__(self) -> Iterator[str]:
        return iter(self._properties)

    def __len__(self) -> int:
        return len(self._properties)

    def __repr__(self) -> str:
        return repr(self._properties)
