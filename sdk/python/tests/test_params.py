"""Parameters: how they are read, that they cannot be written, what stands in for them offline."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from deepsense import neptune
from deepsense.neptune.params import ContextParams, OfflineContextParams, command_line_value, guess


@pytest.fixture
def params() -> ContextParams:
    return ContextParams(
        {"amplitude": 0.5, "epochs": 3, "name": "a b", "shuffle": True, "items": 7, "learning-rate": 1.0}
    )


def test_by_attribute_item_and_iteration(params: ContextParams) -> None:
    assert params.amplitude == 0.5
    assert params["epochs"] == 3
    assert params["learning-rate"] == 1.0
    assert list(params) == ["amplitude", "epochs", "name", "shuffle", "items", "learning-rate"]
    assert len(params) == 6
    assert "name" in params
    assert "nothing" not in params
    assert params.get("epochs") == 3
    assert params.get("nothing", 5) == 5
    assert dict(params) == vars(params)
    assert "amplitude=0.5" in repr(params)


def test_a_parameter_named_like_a_method_is_the_parameter(params: ContextParams) -> None:
    value: object = params.items
    assert value == 7
    assert dict(params)["items"] == 7


def test_assigning_and_deleting_are_refused(params: ContextParams) -> None:
    def attribute() -> None:
        params.amplitude = 1.0

    def item() -> None:
        params["amplitude"] = 1.0

    def delete() -> None:
        del params.amplitude

    def delete_item() -> None:
        del params["amplitude"]

    for change in (attribute, item, delete, delete_item):
        with pytest.raises(neptune.ReadOnlyError, match="amplitude.*read-only"):
            change()
        with pytest.raises(AttributeError):
            change()
    assert params.amplitude == 0.5


def test_a_missing_parameter_names_those_there_are(params: ContextParams) -> None:
    with pytest.raises(AttributeError, match='no parameter "amplitud"; it has: amplitude, epochs'):
        _ = params.amplitud
    with pytest.raises(KeyError):
        _ = params["amplitud"]
    assert not hasattr(params, "amplitud")


@pytest.mark.parametrize("kind", [ContextParams, OfflineContextParams])
def test_they_travel_to_other_processes(params: ContextParams, kind: type[ContextParams]) -> None:
    params = kind(vars(params))
    for again in (copy.copy(params), copy.deepcopy(params), pickle.loads(pickle.dumps(params))):
        assert again == params
        assert vars(again) == vars(params)
        assert type(again) is kind


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("Yes", True),
        ("false", False),
        ("no", False),
        ("3", 3),
        ("-3", -3),
        ("0.5", 0.5),
        ("1e-3", 1e-3),
        ("adam", "adam"),
        ("", ""),
    ],
)
def test_the_type_of_a_text_is_guessed(text: str, value: object) -> None:
    assert guess(text) == value
    assert type(guess(text)) is type(value)


def test_the_command_line_gives_values() -> None:
    line = [
        "--amplitude",
        "5",
        "--sampling_rate=2.5",
        "--verbose",
        "--name",
        "x",
        "--name",
        "y",
        "--offset",
        "-1",
    ]
    assert command_line_value("amplitude", line) == "5"
    assert command_line_value("sampling_rate", line) == "2.5"
    assert command_line_value("verbose", line) is None
    assert command_line_value("name", line) == "y"
    assert command_line_value("offset", line) == "-1"
    assert command_line_value("ampl", line) is None
    assert command_line_value("amplitude", []) is None


def test_offline_parameters_come_from_the_program(program: Any) -> None:
    ended = program("""
        from deepsense import neptune
        early = neptune.Context()
        ctx = neptune.Context(offline_parameters={"lr": 0.1, "epochs": 3})
        assert ctx.params.__class__.__name__ == "OfflineContextParams"
        assert ctx.params.lr == 0.1 and ctx.params["epochs"] == 3
        assert early.params.lr == 0.1
        assert sorted(ctx.params) == ["epochs", "lr"]
        print("fine")
    """)
    assert ended.out == "fine\n"


def test_offline_parameters_come_from_the_command_line(program: Any) -> None:
    program(
        """
        from deepsense import neptune
        ctx = neptune.Context(offline_parameters={"lr": 0.1})
        assert ctx.params.amplitude == 5 and type(ctx.params.amplitude) is int
        assert ctx.params["rate"] == 2.5
        assert ctx.params.lr == 0.1
        assert "fast" in ctx.params and ctx.params.get("fast") is True
        """,
        *["--", "--amplitude", "5", "--rate=2.5", "--lr", "7", "--fast", "yes"],
    )


def test_arguments_given_to_the_context_stand_in_for_the_command_line(program: Any) -> None:
    program(
        """
        from deepsense import neptune
        ctx = neptune.Context(["--amplitude", "6"])
        assert ctx.params.amplitude == 6
        """,
        *["--amplitude", "5"],
    )


def test_a_missing_offline_parameter_is_hinted_at_once_and_raises(program: Any) -> None:
    ended = program("""
        from deepsense import neptune
        ctx = neptune.Context()
        for _ in range(3):
            try:
                ctx.params.amplitude
            except AttributeError as error:
                print(error)
        assert getattr(ctx.params, "amplitude", 4) == 4
        getattr(ctx.params, "__array__", None)
    """)
    assert ended.out == 'parameter "amplitude" has no value offline\n' * 3
    hints = [line for line in ended.err.splitlines() if "offline_parameters" in line]
    assert len(hints) == 1, ended.err
    assert "--amplitude VALUE" in hints[0]
