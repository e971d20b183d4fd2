"""The package as a whole: stubs against the built module, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from deepsense import neptune


def test_the_stubs_say_what_the_module_has() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", "deepsense.neptune._native"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_are_shipped() -> None:
    folder = Path(neptune.__file__).parent
    assert (folder / "py.typed").is_file()
    assert (folder / "_native.pyi").is_file()


def test_importing_and_starting_import_none_of_the_heavy_libraries(program: Any) -> None:
    ended = program("""
        import sys
        from deepsense import neptune
        ctx = neptune.Context()
        ctx.create_channel("loss", neptune.ChannelType.NUMERIC).send(0.5)
        heavy = {"numpy", "PIL", "torch", "tensorflow", "pandas", "multiprocessing", "asyncio"}
        print(sorted(heavy & set(sys.modules)))
    """)
    assert ended.out == "[]\n"


def test_all_public_names_are_there() -> None:
    for name in neptune.__all__:
        assert hasattr(neptune, name), name
    assert neptune.__version__
