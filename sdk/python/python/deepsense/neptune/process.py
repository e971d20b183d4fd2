"""One job a process: how it is joined, shared with child processes, and ended.

The native core notices forks and exit statuses by itself; here is what only Python knows: when the
interpreter ends, and that children of `multiprocessing` end differently.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deepsense.neptune._native import JobInternal, __version__
from deepsense.neptune.job import Job
from deepsense.neptune.params import ContextParams, OfflineContextParams, program_file, take_command_line
from deepsense.neptune.text import plain

EXIT_SECONDS = 10.0
"""How long the program's end waits for the server at most; what it has not taken then is written to disk, for
which the native core takes another 3.5 seconds at most."""

OFFLINE_JOB = "NEPTUNE_OFFLINE_JOB"
"""Tells child processes the folder of the job that works offline, so that they belong to it too."""

_job: Job | None = None
_lock = threading.Lock()
_watching = False


def current_job() -> Job:
    """The process's job; the first call joins it, or says that the program works offline."""
    global _job
    if _job is None:
        with _lock:
            if _job is None:
                _job = _join_job()
    return _job


def give_offline(
    command_line: Sequence[str] | None,
    tags: Iterable[str] | None,
    properties: Mapping[Any, Any] | None,
    parameters: Mapping[str, Any] | None,
) -> None:
    """Adds what a context was given to a job that works offline; otherwise the runner has said all of it."""
    job = current_job()
    params = job.params
    if not isinstance(params, OfflineContextParams):
        return
    if command_line is not None:
        take_command_line(command_line)
    if parameters:
        params._give({str(name): value for name, value in dict(parameters).items()})
    if tags:
        job.tags.extend(tags)
    if properties:
        job.properties.update(properties)


def _join_job() -> Job:
    core = JobInternal(_describe)
    if not core.is_offline:
        job = Job(core, ContextParams(dict(core.params)))
    else:
        job = Job(core, OfflineContextParams(dict(core.params), core.add_offline_params))
        if core.offline_folder is not None:
            os.environ[OFFLINE_JOB] = core.offline_folder
    _end_with_multiprocessing(job)
    return job


def _describe() -> tuple[str, list[str], dict[str, str]]:
    """Name, command line and surroundings of the program, for a job that works offline."""
    main = program_file()
    name = plain(os.path.basename(main)) if main else ""
    command = getattr(sys, "orig_argv", None) or [sys.executable or "python", *sys.argv]
    return name or "interactive", [plain(argument) for argument in command], _environment()


def _environment() -> dict[str, str]:
    """What `neptune run` records too, under the same names."""
    system = os.uname()
    try:
        folder = os.getcwd()
    except OSError:
        folder = ""  # deleted, or not ours to read
    facts = {
        "cpus": os.cpu_count(),
        "folder": folder,
        "interpreter": sys.executable,  # None or empty where Python is part of another program
        "neptune": __version__,
        "os": f"{system.sysname} {system.release} {system.machine}",
        "python": sys.version.split()[0],
    }
    return {name: plain(fact) for name, fact in facts.items() if fact}


# The end


def _end() -> None:
    if _job is not None:
        # Set when the interpreter has shown an error that nobody caught; after this one a signal ends it.
        interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
        _job._core.finish(EXIT_SECONDS, interrupted)


# Registered by the import, before anything a program registers that may still send: the last registered runs
# first.
atexit.register(_end)


def _end_with_multiprocessing(job: Job) -> None:
    """Lets a child process of `multiprocessing` end its session: it leaves without running `atexit`."""
    global _watching
    util = sys.modules.get("multiprocessing.util")
    if util is None or _watching:
        return
    _watching = True

    def at_end(_: object = None) -> None:
        # After the finalizers of others, which may still send.
        util.Finalize(None, _end, exitpriority=-100)

    # A child forgets finalizers when it begins, after its arguments were unpickled, and then runs this.
    util.register_after_fork(job, at_end)
    if sys.modules["multiprocessing.process"].parent_process() is not None:
        at_end()


def _after_fork() -> None:
    """In a forked child: the lock may be held by a thread that does not exist here."""
    global _lock
    _lock = threading.Lock()
    if _job is not None:
        _job._core.note_fork()
        _end_with_multiprocessing(_job)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
