"""The viewer's process: pages, signed media and signals, on this machine only."""

from demos.server.app import ServerFailed, app, background, serve

__all__ = ["ServerFailed", "app", "background", "serve"]
