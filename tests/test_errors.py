"""Errors survive the trip between Dask workers and say what to do."""

from __future__ import annotations

import pickle

import pytest

from demos import errors
from demos.errors import DemosError, EpisodeNotFound, MissingExtra, UnknownName

KINDS = [
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, DemosError)
]


@pytest.mark.parametrize("kind", KINDS)
def test_error_survives_pickling_with_its_hint(kind: type[DemosError]) -> None:
    error = pickle.loads(pickle.dumps(kind("it broke").with_hint("mend it")))

    assert type(error) is kind
    assert str(error) == "it broke"
    assert error.hint == "mend it"


@pytest.mark.parametrize("kind", KINDS)
def test_error_says_in_one_sentence_what_happened(kind: type[DemosError]) -> None:
    assert (kind.__doc__ or "").strip().endswith((".", "`hint` says what to do."))


def test_unknown_episode_offers_close_ids() -> None:
    error = EpisodeNotFound.among("01ABD", ["01ABC", "01XYZ"])

    assert "01ABC" in error.hint
    assert isinstance(error, LookupError)


def test_unknown_name_lists_what_there_is() -> None:
    assert "there are: a, b" in UnknownName.among("metric", "zzz", ["b", "a"]).hint


def test_missing_extra_says_how_to_install_it() -> None:
    with pytest.raises(MissingExtra) as caught:
        errors.require("no_such_package_anywhere", extra="sim")

    assert caught.value.hint == "pip install 'teleop-demos[sim]'"
