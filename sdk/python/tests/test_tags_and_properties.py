"""Tags as a list, properties as a dict: what they do in the program's own view."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from deepsense import neptune


@pytest.fixture(autouse=True)
def empty(ctx: neptune.Context) -> Iterator[None]:
    ctx.tags = []
    ctx.properties = {}
    yield
    ctx.tags.clear()
    ctx.properties.clear()


def test_tags_are_a_list(ctx: neptune.Context) -> None:
    ctx.tags.append("a")
    ctx.tags.extend(["b", "c"])
    ctx.job.tags.insert(0, "first")
    ctx.tags += ["d"]
    assert ctx.tags == ["first", "a", "b", "c", "d"]
    assert len(ctx.tags) == 5
    assert "a" in ctx.tags
    assert "z" not in ctx.tags
    assert ctx.tags[0] == "first"
    assert ctx.tags[-1] == "d"
    assert ctx.tags[1:3] == ["a", "b"]
    assert list(reversed(ctx.tags))[0] == "d"
    assert ctx.tags.index("b") == 2
    assert ctx.tags + ["x"] == ["first", "a", "b", "c", "d", "x"]
    assert repr(ctx.tags) == "['first', 'a', 'b', 'c', 'd']"


def test_a_tag_stands_once_and_a_missing_one_is_removed_silently(ctx: neptune.Context) -> None:
    ctx.tags.append("a")
    ctx.tags.append("a")
    ctx.tags.insert(0, "a")
    assert ctx.tags == ["a"]
    ctx.tags.remove("nothing")
    ctx.tags.remove("a")
    assert ctx.tags == []


def test_assignment_replaces_all(ctx: neptune.Context) -> None:
    ctx.tags.append("old")
    ctx.job.tags = ("x", "y", "x")
    assert ctx.tags == ["x", "y"]
    ctx.tags[0] = "z"
    assert ctx.tags == ["z", "y"]
    del ctx.tags[0]
    assert ctx.tags == ["y"]
    ctx.tags = ctx.tags
    assert ctx.tags == ["y"]
    ctx.tags = ["a", "b", "c"]
    ctx.tags.reverse()
    assert ctx.tags == ["c", "b", "a"]
    assert ctx.tags.pop() == "a"
    assert ctx.tags == ["c", "b"]


@pytest.mark.parametrize("tag", ["Best Model", "", "x" * 65, "größe", "a b", 1.5])
def test_a_bad_tag_says_the_rule_and_changes_nothing(ctx: neptune.Context, tag: str) -> None:
    ctx.tags.append("good")
    with pytest.raises(
        neptune.InvalidValueError, match="must be 1 to 64 lower-case letters, digits, '_' or '-'"
    ):
        ctx.tags.append(tag)
    with pytest.raises(ValueError, match="tag"):
        ctx.tags = ["other", tag]
    assert ctx.tags == ["good"]


def test_properties_are_a_dict_of_texts(ctx: neptune.Context) -> None:
    ctx.properties["best epoch"] = 7
    ctx.job.properties[1] = None
    ctx.properties.update({"a": 0.5}, b=True)  # type: ignore[call-overload]
    assert dict(ctx.properties) == {"best epoch": "7", "1": "None", "a": "0.5", "b": "True"}
    assert ctx.properties == {"best epoch": "7", "1": "None", "a": "0.5", "b": "True"}
    assert ctx.properties["best epoch"] == "7"
    assert ctx.properties.get("nothing") is None
    assert "a" in ctx.properties
    assert len(ctx.properties) == 4
    with pytest.raises(KeyError):
        _ = ctx.properties["nothing"]


def test_a_missing_key_is_deleted_silently(ctx: neptune.Context) -> None:
    ctx.properties["a"] = "1"
    del ctx.properties["nothing"]
    del ctx.properties["a"]
    assert ctx.properties == {}


def test_assigning_a_dict_replaces_all(ctx: neptune.Context) -> None:
    ctx.properties["old"] = "1"
    ctx.properties = {"new": 2}
    assert ctx.properties == {"new": "2"}


@pytest.mark.parametrize(("key", "value"), [("", "1"), ("k" * 257, "1"), ("k", "v" * 16_385)])
def test_a_property_that_no_server_takes_says_the_rule(ctx: neptune.Context, key: str, value: str) -> None:
    with pytest.raises(neptune.InvalidValueError, match="property: the (key|value)"):
        ctx.properties[key] = value
    assert ctx.properties == {}
