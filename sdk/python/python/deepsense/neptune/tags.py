"""The job's tags as a list without repetitions.

Reading is from this process's own view; a change is handed to the native core at once and travels in the
background.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableSequence
from typing import Any, overload

from deepsense.neptune._native import JobInternal, checked_tag
from deepsense.neptune.text import plain


class Tags(MutableSequence[str]):
    """List-like. A tag that is there already is not added again; removing a missing one changes nothing.

    A tag is 1 to 64 lower-case letters, digits, `_` or `-`; anything else raises `InvalidValueError`.
    """

    def __init__(self, core: JobInternal, tags: Iterable[str]) -> None:
        self._core = core
        self._tags = list(tags)

    def append(self, value: str) -> None:
        self.insert(len(self._tags), value)

    def insert(self, index: int, value: str) -> None:
        tag = checked_tag(plain(value))
        if tag not in self._tags:
            self._tags.insert(index, tag)
            self._core.add_tag(tag)

    def remove(self, value: str) -> None:
        tag = str(value)
        if tag in self._tags:
            self._tags.remove(tag)
            self._core.remove_tag(tag)

    def replace(self, values: Iterable[str]) -> None:
        """Makes these the job's only tags, as ``ctx.tags = values`` does."""
        tags = list(dict.fromkeys(checked_tag(plain(value)) for value in values))
        self._core.set_tags(tags)
        self._tags = tags

    def clear(self) -> None:
        self.replace([])

    def reverse(self) -> None:
        # Inherited, it would swap elements through states in which one tag stands twice.
        self._tags.reverse()

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._tags[index]

    @overload
    def __setitem__(self, index: int, value: str) -> None: ...
    @overload
    def __setitem__(self, index: slice, value: Iterable[str]) -> None: ...
    def __setitem__(self, index: int | slice, value: Any) -> None:
        changed = list(self._tags)
        changed[index] = value
        self.replace(changed)

    def __delitem__(self, index: int | slice) -> None:
        changed = list(self._tags)
        del changed[index]
        self.replace(changed)

    def __len__(self) -> int:
        return len(self._tags)

    def __contains__(self, value: object) -> bool:
        return value in self._tags

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Tags):
            return self._tags == other._tags
        return self._tags == other

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Iterable[str]) -> list[str]:
        return self._tags + list(other)

    def __repr__(self) -> str:
        return repr(self._tags)
