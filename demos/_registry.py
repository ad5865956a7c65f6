"""Named plug-ins: every module in one of our folders, plus installed entry points."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib import import_module
from importlib.metadata import entry_points
from typing import TypeVar

from demos.errors import UnknownName

T = TypeVar("T")


class Registry(Mapping[str, T]):
    """Everything that registered itself as one `kind`, found on first use.

    A module in the package's folder, or an entry point of the group `demos.<kind>`,
    registers by being imported: one file adds one thing.
    """

    def __init__(self, kind: str, package: str) -> None:
        self.kind, self.package = kind, package
        self._found: dict[str, T] = {}

    def add(self, name: str, plugin: T) -> T:
        """Register `plugin` under `name`; a second plug-in of one name is an error."""
        if name in self._found:
            raise ValueError(f"two {self.kind} plug-ins are called {name!r}")
        self._found[name] = plugin
        return plugin

    def adding(self, name: str) -> Callable[[T], T]:
        """Decorate a plug-in to register it under `name`."""
        return lambda plugin: self.add(name, plugin)

    @cached_property
    def _all(self) -> dict[str, T]:
        for module in pkgutil.iter_modules(import_module(self.package).__path__):
            if not module.name.startswith("_"):
                import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=f"demos.{self.kind}"):
            point.load()
        return dict(sorted(self._found.items()))

    def __getitem__(self, name: str) -> T:
        try:
            return self._all[name]
        except KeyError:
            raise UnknownName.among(self.kind, name, self._all) from None

    def __contains__(self, name: object) -> bool:
        return name in self._all

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)
