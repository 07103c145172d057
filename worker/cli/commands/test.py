"""`worker test`: the tests of specs, on the memory broker, in virtual time."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Final, NoReturn

import click
from click.shell_completion import CompletionItem

from worker.cli.apart import apart
from worker.cli.exit_codes import FAILED, OK
from worker.cli.failures import report
from worker.cli.options import SETTINGS, Output, output_option, path_option
from worker.cli.progress import progress
from worker.cli.views import tests as views
from worker.cli.views.values import print_value
from worker.errors import BadConfiguration, WorkerError
from worker.observe import logs
from worker.spec import load_tests
from worker.testing.spectests.running import Result
from worker.testing.spectests.suites import Ran, by_spec, files_of_tests, run
from worker.types import Problem

DEFAULT: Final = Path("config")
LOOK_EVERY: Final = 0.3
"""Seconds between two looks at files that are watched."""

Tell = Callable[[Result], object]
How = Callable[[Sequence[Path], Tell], Ran]


def _names(
    ctx: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The names of the tests that a command line names."""
    try:
        files = files_of_tests(ctx.params.get("paths") or [DEFAULT])
        suites = [load_tests(file, os.environ) for file in files]
    except (WorkerError, OSError):
        return []
    names = sorted({name for suite in suites for name in suite.tests})
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command("test", context_settings=SETTINGS)
@click.argument(
    "paths",
    nargs=-1,
    type=click.Path(exists=True, path_type=Path),
    metavar="[PATHS]...",
)
@click.option(
    "--filter",
    "wanted",
    default="",
    metavar="TEXT",
    envvar="WORKER_FILTER",
    show_envvar=True,
    show_default=False,
    shell_complete=_names,
    help="Run the tests only whose names have this in them.",
)
@click.option(
    "--junit",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    show_envvar=True,
    help="Write the results to a file, too, as JUnit does.",
)
@click.option(
    "--watch",
    is_flag=True,
    allow_from_autoenv=False,
    help="Run them again when a file changes; until Ctrl-C.",
)
@path_option()
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    show_envvar=True,
    help="Least severe level to log, on standard error; nothing by default.",
)
@output_option()
def command(
    paths: tuple[Path, ...],
    wanted: str,
    junit: Path | None,
    watch: bool,
    path: tuple[str, ...],
    log_level: str | None,
    output: Output,
) -> None:
    """Run the tests of specs, with the real engine and handlers, and no broker.

    PATHS are specs with tests in or beside them (`flights.test.yaml`), files of tests, and folders;
    by default `config`. Time is virtual: a retry after ten minutes takes a millisecond. Failures
    name the line of what was expected. The exit code is 1 when a test fails or there is none, and
    78 when a file has mistakes; the tests of other files run all the same.

    \b
    Example:
      worker test
      worker test config/flights.yaml --filter retried --watch
    """
    job = Job(paths or (DEFAULT,), wanted, path, log_level)
    if watch:
        _watch(job, output, junit)
    sys.exit(_once(job, output, junit))


@dataclass(frozen=True, slots=True)
class Job:
    """What is to be run, and how."""

    paths: Sequence[Path]
    wanted: str
    folders: Sequence[str]
    log_level: str | None

    def files(self) -> list[Path]:
        """The files with tests, by now."""
        if not self.paths[0].exists():
            raise WorkerError(f"there is no {self.paths[0]}; name specs, files of tests or folders")
        return files_of_tests(self.paths)

    def run(self, files: Sequence[Path], tell: Tell = lambda _result: None) -> Ran:
        """Run the tests of one spec."""
        if self.log_level is None:
            logging.disable()
        else:
            logs.configure(self.log_level, "auto")
        return run(files, os.environ, self.folders, self.wanted, tell)

    def run_apart(self, files: Sequence[Path], tell: Tell) -> Ran:
        """Run them in a process of its own."""
        try:
            ran = apart(self.run, files)
        except BrokenProcessPool:
            words = "a handler, or what its module does, has ended the process"
            return Ran(problems=[Problem(str(files[0]), 1, 1, "tests", words)])
        for result in ran.results:
            tell(result)
        return ran


def _once(job: Job, output: Output, junit: Path | None) -> int:
    """Run all tests and print what has come of them; returns the exit code."""
    groups, problems = by_spec(job.files(), os.environ)
    if len(groups) == 1:
        signal.signal(signal.SIGINT, _end_at_once)
    how = job.run if len(groups) == 1 else job.run_apart
    ran = _run_all(job, groups, problems, output, how)
    _write(ran, junit)
    if ran.problems:
        raise BadConfiguration(ran.problems)
    return FAILED if any(result.differences for result in ran.results) else OK


def _end_at_once(_number: int, _frame: FrameType | None) -> NoReturn:
    """End a run in this process: in a handler `KeyboardInterrupt` would be one more failure."""
    click.echo("\nAborted!", err=True)
    os._exit(FAILED)


def _watch(job: Job, output: Output, junit: Path | None) -> NoReturn:
    """Do the same again and again, each time that a file has changed, until Ctrl-C."""
    known: set[str] = set()
    try:
        while True:
            seen, begun = _state(job, known), time.time_ns()
            try:
                files = job.files()
                known |= {*map(str, files)}
                groups, problems = by_spec(files, os.environ)
                ran = _run_all(job, groups, problems, output, job.run_apart)
                known = ran.files | {*map(str, files)} | {one.file for one in ran.problems}
                _write(ran, junit)
                if ran.problems:
                    report(BadConfiguration(ran.problems))
            except WorkerError as error:
                report(error)
            _wait_for_change(job, known, seen, begun)
    except KeyboardInterrupt:
        sys.exit(OK)


def _run_all(
    job: Job,
    groups: Sequence[Sequence[Path]],
    problems: Sequence[Problem],
    output: Output,
    how: How,
) -> Ran:
    """Run the tests of all specs and print what has come of them; with problems found before."""
    begun, every = time.monotonic(), Ran(problems=[*problems])
    tell = views.show_result if output == "table" else lambda _result: None
    with progress("tests") as show:
        for number, files in enumerate(groups):
            show(number, len(groups))
            ran = how(files, tell)
            every.results += ran.results
            every.problems += ran.problems
            every.files |= ran.files
    if not every.results and not every.problems:
        raise WorkerError(_none(job))
    if output == "table":
        if every.results:
            views.show_total(every.results, time.monotonic() - begun)
    else:
        print_value(views.value_of_results(every.results), output)
    return every


def _none(job: Job) -> str:
    where = ", ".join(map(str, job.paths))
    if job.wanted:
        return f"no test in {where} has {job.wanted!r} in its name"
    how = "write them under `tests` in a spec, or in a file NAME.test.yaml beside it"
    return f"there are no tests in {where}; {how}"


def _write(ran: Ran, junit: Path | None) -> None:
    if junit is not None:
        try:
            junit.write_bytes(views.junit(ran.results, ran.problems))
        except OSError as error:
            raise WorkerError(f"{junit} cannot be written: {error.strerror}") from error


def _wait_for_change(job: Job, known: set[str], seen: Mapping[str, int], begun: int) -> None:
    """Wait for one since the run began, whose files are known only by now."""
    before = {file: min(at, begun) for file, at in _state(job, known).items()} | dict(seen)
    while _state(job, known) == before:
        time.sleep(LOOK_EVERY)


def _state(job: Job, known: set[str]) -> dict[str, int]:
    """When files were written, those that are not there left out."""
    files = {*known, *map(str, files_of_tests(path for path in job.paths if path.exists()))}
    state = {}
    for file in files:
        with suppress(OSError):
            state[file] = Path(file).stat().st_mtime_ns
    return state
