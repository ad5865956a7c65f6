"""Records on disk: what is written is read, what is damaged is our error with a hint."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from demos import schema
from demos.errors import DemosError, NewerVersion, SchemaMismatch
from demos.model import Document, Label, Record, Session, Span
from demos.provenance import new_id, new_label

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=5)
    ),
    max_leaves=20,
)
NAMES = sorted(schema.RECORDS)


def a_label() -> Label:
    span = Span(start_ns=0, end_ns=5, tier="right_hand", value="reach", confidence=0.5)
    return new_label(new_id(), "phases", annotator="op-1", role="operator", spans=[span])


def test_what_is_written_is_read() -> None:
    label = a_label()

    assert schema.read(Label, schema.dump(label), where="x") == label


def test_equal_records_have_equal_bytes() -> None:
    label = a_label()

    again = Label.model_validate(dict(reversed(list(label.model_dump().items()))))

    assert schema.dump(again) == schema.dump(label)


def test_later_version_says_to_upgrade() -> None:
    plain = {**json.loads(schema.dump(a_label())), "version": 99}

    with pytest.raises(NewerVersion) as caught:
        schema.read(Label, json.dumps(plain).encode(), where="label.json")

    assert "version 99" in str(caught.value)
    assert "upgrade" in caught.value.hint


def test_older_version_is_upgraded_while_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    class Note(Document):
        kind: str = "note"
        version: int = 3
        text: str

    steps = {
        1: lambda old: {**old, "version": 2, "text": old["words"]},
        2: lambda old: {"kind": "note", "version": 3, "text": old["text"].strip()},
    }
    monkeypatch.setitem(schema._UPGRADES, "note", steps)

    note = schema.read(Note, b'{"kind": "note", "version": 1, "words": " hello "}', where="x")

    assert note.text == "hello"


def test_misspelt_field_is_named() -> None:
    plain: dict[str, Any] = json.loads(schema.dump(a_label()))
    plain["confidense"] = plain.pop("confidence")

    with pytest.raises(SchemaMismatch, match="confidense"):
        schema.validate(Label, plain, where="label.json")


def test_moments_keep_their_time_zone() -> None:
    moment = datetime(2026, 11, 1, 12, 30, 15, 123456, tzinfo=UTC)
    session = Session(id=new_id(), embodiment="g1", operator="op-1", started_at=moment)

    assert schema.read(Session, schema.dump(session), where="x").started_at == moment


def _only_our_error(record: type[Record], content: bytes) -> None:
    for reader in (schema.read, schema.read_yaml):
        try:
            reader(record, content, where="x")
        except DemosError as error:
            assert error.hint  # noqa: PT017


@given(name=st.sampled_from(NAMES), content=st.binary(max_size=200))
def test_random_bytes_give_only_our_error(name: str, content: bytes) -> None:
    _only_our_error(schema.RECORDS[name], content)


@given(name=st.sampled_from(NAMES), plain=JSON)
def test_random_json_gives_only_our_error(name: str, plain: Any) -> None:
    _only_our_error(schema.RECORDS[name], json.dumps(plain).encode())


@given(data=st.data())
def test_damaged_record_gives_only_our_error(data: st.DataObject) -> None:
    content = bytearray(schema.dump(a_label()))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))

    _only_our_error(Label, bytes(content))
    _only_our_error(Label, bytes(content[:cut]))


@pytest.mark.slow
@settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(NAMES), content=st.binary(max_size=400) | JSON.map(repr).map(str.encode)
)
def test_two_thousand_random_files_give_only_our_error(name: str, content: bytes) -> None:
    _only_our_error(schema.RECORDS[name], content)


@pytest.mark.parametrize("name", NAMES)
def test_deep_nesting_is_our_error(name: str, tmp_path: Path) -> None:
    _only_our_error(schema.RECORDS[name], b"[" * 100_000)
    _only_our_error(schema.RECORDS[name], b'{"a":' * 3_000 + b"1" + b"}" * 3_000)
