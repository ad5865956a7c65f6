"""Settings that all tests share."""

from __future__ import annotations

from importlib.util import find_spec

from hypothesis import HealthCheck, settings

# `make interop` runs those, in an environment that has the real lerobot
collect_ignore = [] if find_spec("lerobot") else ["interop"]

# a shared machine is slow at random moments; speed is measured in benchmarks, not here
settings.register_profile(
    "demos", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("demos")
