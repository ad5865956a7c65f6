"""Settings that all tests share."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# a shared machine is slow at random moments; speed is measured in benchmarks, not here
settings.register_profile(
    "demos", deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.load_profile("demos")
