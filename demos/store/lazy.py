"""Things by name, each read when first asked for and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from demos.errors import UnknownName

T = TypeVar("T")


class Lazy(Mapping[str, T]):
    """A mapping whose values are made on first use. An unknown name raises UnknownName."""

    def __init__(self, kind: str, names: Iterable[str], make: Callable[[str], T]) -> None:
        self._kind, self._names, self._make = kind, tuple(names), make
        self._made: dict[str, T] = {}

    def __getitem__(self, name: str) -> T:
        if name not in self._made:
            if name not in self._names:
                raise UnknownName.among(self._kind, name, self._names)
            self._made[name] = self._make(name)
        return self._made[name]

    def get(self, name: str, default: Any = None) -> Any:
        """Return the thing called `name`, or `default`; damage still raises."""
        return self[name] if name in self._names else default

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def forget(self) -> None:
        """Drop what was made."""
        self._made.clear()
