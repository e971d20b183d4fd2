"""Parameters of the job: read-only, by attribute, by item, or all of them by iteration.

The two class names are part of the contract: programs look at ``ctx.params.__class__.__name__`` to learn
whether they were started by Neptune.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, Sequence, ValuesView
from typing import Any, NoReturn

from deepsense.neptune.errors import MissingParameterError, ReadOnlyError
from deepsense.neptune.text import plain


class ContextParams:
    """The parameters that `neptune run` checked: ``ctx.params.amplitude``, ``ctx.params["amplitude"]``."""

    # Parameters live in the instance's `__dict__` and nothing else does, so one called `items` or `keys` is
    # found before the method of that name, and `vars(ctx.params)` is the whole set.

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.__dict__.update(values)

    def _find(self, name: str) -> Any:
        known = ", ".join(sorted(self.__dict__)) or "none"
        raise MissingParameterError(
            f'the job has no parameter "{name}"; it has: {known}. '
            "Parameters are declared under `parameters` in the job's configuration file"
        )

    # Only called for what is not in `__dict__`.
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name.endswith("__"):
            raise AttributeError(name)
        return self._find(name)

    def __getitem__(self, name: str) -> Any:
        try:
            return self.__dict__[name]
        except KeyError:
            return self._find(name)

    def get(self, name: str, default: Any = None) -> Any:
        """The parameter's value, or `default` if there is none of that name."""
        return self[name] if name in self else default

    def keys(self) -> KeysView[str]:
        """The names."""
        return self.__dict__.keys()

    def values(self) -> ValuesView[Any]:
        """The values, in the order of the names."""
        return self.__dict__.values()

    def items(self) -> ItemsView[str, Any]:
        """Pairs of name and value."""
        return self.__dict__.items()

    def __iter__(self) -> Iterator[str]:
        return iter(self.__dict__)

    def __len__(self) -> int:
        return len(self.__dict__)

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ContextParams):
            return self.__dict__ == other.__dict__
        return isinstance(other, Mapping) and self.__dict__ == dict(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        pairs = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({pairs})"

    def __setattr__(self, name: str, value: Any) -> NoReturn:
        self._refuse(name)

    def __delattr__(self, name: str) -> NoReturn:
        self._refuse(name)

    def __setitem__(self, name: str, value: Any) -> NoReturn:
        self._refuse(name)

    def __delitem__(self, name: str) -> NoReturn:
        self._refuse(name)

    @staticmethod
    def _refuse(name: str) -> NoReturn:
        raise ReadOnlyError(f'parameter "{name}" is read-only: parameters are fixed when the job is created')


class OfflineContextParams(ContextParams):
    """The parameters of a program that was not started by Neptune: its own, then the command line's.

    A parameter that `Context(offline_parameters=...)` does not name is looked for on the program's command
    line, as ``--name value`` or ``--name=value``; its type is guessed: true/yes and false/no, whole number,
    number, text.
    """

    __slots__ = ("_keep",)

    def __init__(
        self, values: Mapping[str, Any], keep: Callable[[list[tuple[str, Any]]], None] = lambda _: None
    ) -> None:
        super().__init__(values)
        # Beside `__dict__`, which holds nothing but parameters.
        object.__setattr__(self, "_keep", keep)

    def __reduce__(self) -> tuple[Any, ...]:
        return OfflineContextParams, (dict(self.__dict__),)

    def _give(self, values: Mapping[str, Any]) -> None:
        """Adds parameters, here and in the job's record."""
        self.__dict__.update(values)
        kept = {
            plain(name): plain(value) if isinstance(value, str) else value for name, value in values.items()
        }
        self._keep(list(kept.items()))

    def _find(self, name: str) -> Any:
        found = command_line_value(name, _command_line)
        if found is not None:
            value = guess(found)
            self._give({name: value})
            return value
        if not name.startswith("_") and name not in _hinted:
            _hinted.add(name)
            print(
                f'neptune: parameter "{name}" has no value: the program was not started by `neptune run`. '
                f"Give it with Context(offline_parameters={{{name!r}: ...}}) "
                f"or on the command line: --{name} VALUE",
                file=sys.stderr,
            )
        raise MissingParameterError(f'parameter "{name}" has no value offline')

    def __contains__(self, name: object) -> bool:
        return name in self.__dict__ or (
            isinstance(name, str) and command_line_value(name, _command_line) is not None
        )


_hinted: set[str] = set()
_command_line: Sequence[str] | None = None


def take_command_line(arguments: Sequence[str]) -> None:
    """Sets what is searched instead of `sys.argv`."""
    global _command_line
    _command_line = [str(argument) for argument in arguments]


def program_file() -> str | None:
    """The file of the program that runs; None in a notebook, in a shell, or from standard input."""
    file = getattr(sys.modules.get("__main__"), "__file__", None)
    return None if file is None or file.startswith("<") else file


def command_line_value(name: str, arguments: Sequence[str] | None) -> str | None:
    """The text given as ``--name value`` or ``--name=value``; the last one counts."""
    if arguments is None:
        # In a notebook or an interactive shell the command line belongs to the shell, not to the program.
        if program_file() is None:
            return None
        arguments = sys.argv[1:]
    found = None
    following = [*arguments[1:], None]
    for argument, after in zip(arguments, following):
        if argument.startswith(f"--{name}="):
            found = argument[len(name) + 3 :]
        elif argument == f"--{name}" and after is not None and not after.startswith("--"):
            found = after
    return found


def guess(text: str) -> bool | int | float | str:
    """Makes a value of the type that the text looks like."""
    lower = text.strip().lower()
    if lower in ("true", "yes"):
        return True
    if lower in ("false", "no"):
        return False
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
