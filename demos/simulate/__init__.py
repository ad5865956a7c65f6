"""Simulated sessions: scripted people drive a simulated robot by contact physics.

A task is one module here that registers itself with `@tasks.adding(ID)`, see `trial.py`.
"""

from __future__ import annotations

from demos.simulate.session import VERSION, attempt, simulate
from demos.simulate.trial import tasks

__all__ = ["VERSION", "attempt", "simulate", "tasks"]
