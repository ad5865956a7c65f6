"""tf.train.Example and SequenceExample as the protobuf package reads and writes them.

The messages are described field by field (tensorflow/core/example), so that TensorFlow is not
needed to hold our own parser against another one.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest


@cache
def messages() -> dict[str, Any]:
    """Return the message classes Example and SequenceExample; skips where protobuf is not there."""
    descriptor = pytest.importorskip("google.protobuf.descriptor_pb2")
    pool = pytest.importorskip("google.protobuf.descriptor_pool").DescriptorPool()
    factory = pytest.importorskip("google.protobuf.message_factory")
    file = descriptor.FileDescriptorProto(name="e.proto", package="t", syntax="proto3")
    kind = descriptor.FieldDescriptorProto

    def message(name: str, *fields: tuple[str, int, int, int, str]) -> Any:
        made = file.message_type.add(name=name)
        for field, number, type_, label, of in fields:
            made.field.add(name=field, number=number, type=type_, label=label, type_name=of or None)
        return made

    def entry(of: Any, name: str, value: str) -> None:
        inner = of.nested_type.add(name=name)
        inner.options.map_entry = True
        inner.field.add(name="key", number=1, type=kind.TYPE_STRING, label=1)
        inner.field.add(
            name="value", number=2, type=kind.TYPE_MESSAGE, label=1, type_name=f".t.{value}"
        )

    whole = kind.TYPE_MESSAGE
    message("BytesList", ("value", 1, kind.TYPE_BYTES, 3, ""))
    message("FloatList", ("value", 1, kind.TYPE_FLOAT, 3, ""))
    message("Int64List", ("value", 1, kind.TYPE_INT64, 3, ""))
    feature = message(
        "Feature",
        ("bytes_list", 1, whole, 1, ".t.BytesList"),
        ("float_list", 2, whole, 1, ".t.FloatList"),
        ("int64_list", 3, whole, 1, ".t.Int64List"),
    )
    feature.oneof_decl.add(name="kind")
    for each in feature.field:
        each.oneof_index = 0
    features = message("Features", ("feature", 1, whole, 3, ".t.Features.FeatureEntry"))
    entry(features, "FeatureEntry", "Feature")
    message("FeatureList", ("feature", 1, whole, 3, ".t.Feature"))
    lists = message(
        "FeatureLists", ("feature_list", 1, whole, 3, ".t.FeatureLists.FeatureListEntry")
    )
    entry(lists, "FeatureListEntry", "FeatureList")
    message("Example", ("features", 1, whole, 1, ".t.Features"))
    message(
        "SequenceExample",
        ("context", 1, whole, 1, ".t.Features"),
        ("feature_lists", 2, whole, 1, ".t.FeatureLists"),
    )
    pool.Add(file)
    names = ("Example", "SequenceExample", "Feature")
    return {n: factory.GetMessageClass(pool.FindMessageTypeByName(f"t.{n}")) for n in names}


def values_of(feature: Any) -> list[Any]:
    """Return the values of a protobuf Feature."""
    kind = feature.WhichOneof("kind")
    return list(getattr(feature, kind).value) if kind else []
