"""Fills a model repository: version by version, each whole or not at all; what is there and intact is skipped."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from ipa_seldon import plugins
from ipa_seldon.errors import ConfigError, PlatformError
from ipa_seldon.weights import CONVERTERS, EXTRA, SERVED, STORED
from ipa_seldon.weights.catalogue import Target
from ipa_seldon.weights.record import Origin, Record, is_intact, read_record, write_record
from ipa_seldon.weights.sources import Source

MEGABYTE = 1_000_000


def fetch(targets: Iterable[Target], source: Source, say: Callable[[str], None] = lambda _: None) -> tuple[Record, ...]:
    """The record of every target, whose directory then holds the weights of ``source``, verified.

    PlatformError or ConfigError where one cannot be had: what was fetched before it stays, and is skipped next time.
    """
    return tuple(_fetch(target, source, say) for target in targets)


def _fetch(target: Target, source: Source, say: Callable[[str], None]) -> Record:
    before = read_record(target.directory)
    origin = source.origin(target, before.origin if before else None)
    if before and before.origin == origin and is_intact(target.directory, before):
        return before
    say(f"{target.name}: {words(origin)}")
    # Beside the target, so that the rename stays on one file system; no number, so that Triton takes it for no version.
    work = target.directory.with_name(f".fetch-{target.directory.name}")
    try:
        shutil.rmtree(work, ignore_errors=True)  # of a fetch that was killed
        (work / "new").mkdir(parents=True)
        source.fill(target, origin, work / "new")
        if origin.source != "random":
            _convert(target, work / "new")
        record = write_record(work / "new", origin)
        if not record.files:
            raise PlatformError(f"{target.name}: {words(origin)}, has no file")
        _check_again(target, before, record)
        if target.directory.exists():
            target.directory.rename(work / "old")
        (work / "new").rename(target.directory)
    except ConfigError as error:  # of a builder and its options
        raise ConfigError(f"{target.key}.{error}") from error
    except OSError as error:
        reason = error.strerror or error
        raise PlatformError(f"{target.name}: cannot write to {target.directory}: {reason}") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    say(f"  {target.directory} ({record.size / MEGABYTE:.1f} MB)")
    return record


def _convert(target: Target, directory: Path) -> None:
    """Make what is served of what was fetched, where that is something else."""
    builder = target.weights.builder
    if builder in CONVERTERS and not (directory / SERVED).exists():
        if not (directory / STORED).exists():
            raise PlatformError(f"{target.name}: found none of {SERVED}, {STORED}")
        convert = plugins.load("builder", builder, CONVERTERS, EXTRA)
        try:
            convert(target.weights.options, directory)
        except PlatformError as error:
            raise PlatformError(f"{target.name}: {error}") from error
        (directory / STORED).unlink()


def _check_again(target: Target, before: Record | None, now: Record) -> None:
    """A commit of the hub gives what it gave the first time, or it is not to be trusted."""
    if before is None or now.origin.source != "hub" or before.origin != now.origin or before.files == now.files:
        return
    raise PlatformError(
        f"{target.name}: {now.origin.hub} at {now.origin.revision} is not what {target.directory} has recorded; "
        "remove that directory to accept it"
    )


def words(origin: Origin) -> str:
    """Where weights come from and under which licence, in a few words."""
    if origin.source == "random":
        return f"{'tiny ' if origin.tiny else ''}random weights of seed {origin.seed}"
    whence = origin.folder if origin.source == "folder" else f"{origin.hub} at {origin.revision}"
    return f"{whence}, licence {origin.licence}"
