"""Texts as the native half takes them: Unicode, whatever they came from."""

from __future__ import annotations


def plain(value: object) -> str:
    """``str(value)`` without surrogates: Python's stand-ins for bytes of a file's name or an argument that
    are no UTF-8 become ``\\udcff``, written out."""
    text = str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
