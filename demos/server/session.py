"""What a page is served from: the store and the key that the process was started with."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from demos.errors import StoreError
from demos.library import Store
from demos.server.signing import Signer

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Served:
    """One store as the pages of one process share it. Hold `turn` while changing its catalog."""

    store: Store
    signer: Signer
    turn: threading.Lock = field(default_factory=threading.Lock)

    def refresh(self) -> None:
        """Take in what was published since."""
        with self.turn:
            self.store.refresh()

    def results(self, kind: str, episode: str) -> pd.DataFrame:
        """Read what the latest run said of one episode; empty where nothing was computed."""
        import pandas as pd

        return pd.DataFrame(self.store.catalog.results(kind, episode))

    def verdict(self, episode: str) -> tuple[str, str]:
        """Read the verdict that holds and its reason; empty where nobody gave one."""
        rows = self.store.catalog.rows(["verdict", "reasons"], "id = ?", (episode,))
        return (str(rows[0][0] or ""), str(rows[0][1] or "")) if rows else ("", "")


def served() -> Served:
    """Return what this application serves; opened once a process.

    The store's path and the signing key are in Streamlit's secrets under `demos`, where
    `demos.server.app` put them. Raises StoreError where a page runs outside of it.
    """
    import streamlit

    try:
        named = streamlit.secrets["demos"]
        store, key = str(named["store"]), str(named["key"])
    except (KeyError, FileNotFoundError) as error:
        raise StoreError("this page was not started by `demos view`").with_hint(
            "run: demos view STORE"
        ) from error
    opened: Served = streamlit.cache_resource(show_spinner=False)(_open)(store, key)
    return opened


def _open(store: str, key: str) -> Served:
    return Served(Store.open(Path(store)), Signer(bytes.fromhex(key)))
