"""Whatever happened to a recording, an import ends in a report or in our own error with a hint.

Every importer of the registry is tried unasked. A failure names the seed and how to run it again
alone. What is watched: memory, time, the source, and all that lies beside the store.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demos.importers import importers
from tests.fuzz.trial import Fuzz, Worker

BLOCK = 50
THOUSAND = range(0, 1000, BLOCK)


@pytest.fixture(scope="module")
def fuzz(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzz]:
    scratch = tmp_path_factory.mktemp("fuzz")
    with Worker(scratch / "worker.log", block=BLOCK) as worker:
        yield Fuzz(scratch, worker)


def survives(fuzz: Fuzz, format: str, seeds: range) -> None:
    bad = [str(each) for seed in seeds if (each := fuzz.trial(format, seed)).problems]
    assert not bad, "\n".join(bad)


@pytest.mark.parametrize("format", importers)
def test_a_few_harmed_recordings_cause_nothing_but_our_error(fuzz: Fuzz, format: str) -> None:
    survives(fuzz, format, range(10_000, 10_003))


@pytest.mark.slow
@pytest.mark.parametrize("format", importers)
def test_sixty_harmed_recordings_cause_nothing_but_our_error(fuzz: Fuzz, format: str) -> None:
    survives(fuzz, format, range(20_000, 20_060))


@pytest.mark.fuzz
@pytest.mark.parametrize("first", THOUSAND)
@pytest.mark.parametrize("format", importers)
def test_a_thousand_harmed_recordings_cause_nothing_but_our_error(
    fuzz: Fuzz, format: str, first: int
) -> None:
    survives(fuzz, format, range(first, first + BLOCK))
