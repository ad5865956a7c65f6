"""Every error we raise on purpose.

    DemosError
    ├── StoreError
    │   ├── EpisodeNotFound        (also LookupError)
    │   ├── SchemaMismatch         (also ValueError)
    │   ├── NewerVersion           a file of a later release
    │   └── Damaged                bytes are not what was published
    ├── RecordingFailed            the recorder could not keep its promise
    ├── ImportFailed               (also ValueError)
    ├── ReplayFailed
    ├── BadExpression              (also ValueError) a filter we refuse to run
    ├── UnknownName                (also LookupError) plug-in, task, embodiment, column
    └── MissingExtra               (also ImportError) an optional package is not installed

Subclasses never override `__init__`: Dask pickles errors between workers, and an
error whose constructor is not `cls(message)` cannot be unpickled there.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from types import ModuleType
from typing import Self


class DemosError(Exception):
    """Base of all our errors. The message says what is wrong; `hint` says what to do."""

    hint: str = ""

    def with_hint(self, hint: str) -> Self:
        """Attach the next step a person should take; the CLI and viewer show it."""
        self.hint = hint
        return self


class StoreError(DemosError):
    """The store could not be read or written."""


class EpisodeNotFound(StoreError, LookupError):
    """No episode has that id."""

    @classmethod
    def among(cls, episode_id: str, known: Iterable[str]) -> Self:
        """Build the error, offering the closest known ids."""
        close = get_close_matches(episode_id, list(known), n=3, cutoff=0.5)
        error = cls(f"no episode {episode_id!r} in this store")
        return error.with_hint(
            f"did you mean {', '.join(close)}?" if close else "list them with `demos ls STORE`"
        )


class SchemaMismatch(StoreError, ValueError):
    """A record does not have the shape its schema promises."""


class NewerVersion(StoreError):
    """A file was written by a later release than this one."""


class Damaged(StoreError):
    """Stored bytes are not the bytes that were published."""


class RecordingFailed(DemosError):
    """The recorder could not keep what it was given."""


class ImportFailed(DemosError, ValueError):
    """A source could not be turned into episodes."""


class ReplayFailed(DemosError):
    """An episode could not be run in simulation."""


class BadExpression(DemosError, ValueError):
    """A filter expression says something we do not run."""


class UnknownName(DemosError, LookupError):
    """Nothing is registered or declared under that name."""

    @classmethod
    def among(cls, kind: str, name: str, known: Iterable[str]) -> Self:
        """Build the error, offering the closest known names."""
        names = sorted(known)
        close = get_close_matches(name, names, n=3)
        error = cls(f"no {kind} called {name!r}")
        listed = ", ".join(names) or "none"
        return error.with_hint(
            f"did you mean {', '.join(close)}?" if close else f"there are: {listed}"
        )


class MissingExtra(DemosError, ImportError):
    """An optional package is needed and not installed."""


def require(module: str, *, extra: str) -> ModuleType:
    """Import an optional package, or say in one line how to install it."""
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtra(f"this needs {module}, which is not installed").with_hint(
            f"pip install 'teleop-demos[{extra}]'"
        ) from error
