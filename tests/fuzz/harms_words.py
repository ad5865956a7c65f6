"""What happens to JSON, JSON lines and YAML: values of other kinds, names that lead elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import yaml

Place = tuple[Any, Any]
"""A dictionary or a list, and the key or number of one of its values."""

_SUFFIXES = {".json", ".jsonl", ".yaml", ".yml"}
NAN, INFINITY = float("nan"), float("inf")
ODD: tuple[Any, ...] = (
    *(2**31 - 1, 2**32, 2**40, 2**62, 10**30, -1, 0, 1.5, 1e308, -1e-9, NAN, INFINITY, -INFINITY),
    *(
        None,
        True,
        "",
        "x",
        "/",
        ".",
        "..",
        "@",
        "a@b",
        "*",
        "**/*",
        "\0",
        "\ud800",
        "é",
        "x" * 9999,
    ),
    *([], {}, [[]], ["x"], [0, 10**9], {"path": "x"}, {"text": "x"}, {"rate_hz": 1e-9}),
    *("bgr", "video", "image", "float32", "uint8", "v2.0", "v3.0", "{episode_index}", "NaN"),
)


def read(path: Path) -> Any:
    """Read what a file says; of JSON lines a list."""
    content = path.read_text()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    return yaml.safe_load(content) if path.suffix in (".yaml", ".yml") else json.loads(content)


def write(path: Path, plain: Any) -> None:
    """Write it again, NaN and infinities as they are called there."""
    if path.suffix == ".jsonl" and isinstance(plain, list):
        path.write_text("".join(f"{json.dumps(each)}\n" for each in plain))
    elif path.suffix in (".yaml", ".yml"):
        path.write_text(yaml.safe_dump(plain, allow_unicode=True))
    else:
        path.write_text(json.dumps(plain))


def places(plain: Any) -> Iterator[Place]:
    """Yield every value of a tree as where it stands."""
    keys = list(plain) if isinstance(plain, dict) else range(len(plain))
    for key in keys:
        yield plain, key
        if isinstance(plain[key], dict | list):
            yield from places(plain[key])


def _some(plain: Any, rng: Random) -> Place:
    """Pick a value; those near the root, of which there are few, as often as those far down."""
    here = plain
    while True:
        key = rng.choice(list(here) if isinstance(here, dict) else range(len(here)))
        if not isinstance(here[key], dict | list) or not here[key] or rng.random() < 0.25:
            return here, key
        here = here[key]


def reworded(path: Path, rng: Random, canary: Path) -> None:
    """Put something odd in place of one to three values."""
    plain = read(path)
    for _ in range(rng.randint(1, 3)):
        here, key = _some(plain, rng)
        here[key] = rng.choice([*ODD, *outside(canary, path)])
    write(path, plain)


def named_outside(path: Path, rng: Random, canary: Path) -> None:
    """Let every value that may name a file name one outside of the recording."""
    plain = read(path)
    found = [(here, key) for here, key in places(plain) if _names_a_file(here[key])]
    for here, key in rng.sample(found, rng.randint(1, len(found))):
        here[key] = rng.choice(outside(canary, path))
    write(path, plain)


def outside(canary: Path, path: Path) -> list[str]:
    """Spell the names of files that are none of the recording's."""
    others = sorted(canary.parent.glob("canary.*"))
    names = [each.name for each in others]
    up = ["../" * depth for depth in range(1, 6)]
    below = path.parent.name
    return [
        *(step + name for step in up for name in names),
        *(f"{below}/../{step}{name}" for step in up[:2] for name in names),
        *map(str, others),
        *("/etc/passwd", "/dev/zero", "/dev/stdin", "/proc/self/environ", "~/canary.json", "."),
    ]


def _names_a_file(value: object) -> bool:
    return isinstance(value, str) and ("/" in value or "." in value[-6:] or "{" in value)


def retyped(path: Path, rng: Random, canary: Path) -> None:
    """Say the same in another type: numbers as text, values as lists, lists as mappings."""
    plain = read(path)
    for _ in range(rng.randint(1, 4)):
        here, key = _some(plain, rng)
        value = here[key]
        ways: list[Any] = [str(value), [value], {"value": value}, value is not None]
        if isinstance(value, list):
            ways += [dict(enumerate(value)), value[:1], value * 2, value[::-1]]
        if isinstance(value, dict):
            ways += [list(value.values()), list(value), {k: [v] for k, v in value.items()}]
        if isinstance(value, int | float):
            ways += [-value, value * 1_000_000, float(value), value + 1]
        here[key] = rng.choice(ways)
    write(path, plain)


def swapped(path: Path, rng: Random, canary: Path) -> None:
    """Swap values, each of which is fine where it was."""
    plain = read(path)
    for _ in range(rng.randint(1, 4)):
        (here, key), (there, other) = _some(plain, rng), _some(plain, rng)
        value, else_ = json.loads(json.dumps([here[key], there[other]]))
        here[key], there[other] = else_, value
    write(path, plain)


def lacking(path: Path, rng: Random, canary: Path) -> None:
    plain = read(path)
    for _ in range(rng.randint(1, 3)):
        here, key = _some(plain, rng)
        del here[key]
    write(path, plain)


def renamed(path: Path, rng: Random, canary: Path) -> None:
    """Give values other keys: empty, very long, ones that lead up."""
    plain = read(path)
    inside = [here[key] for here, key in places(plain) if isinstance(here[key], dict) and here[key]]
    for here in rng.sample(inside, min(len(inside), 2)) or [plain]:
        key = rng.choice(list(here))
        here[rng.choice(["", "x" * 300, "../x", "a/b", "\0", "é", "color_99999999999", "None"])] = (
            here.pop(key)
        )
    write(path, plain)


def nested(path: Path, rng: Random, canary: Path) -> None:
    """Nest one value deeper than any parser goes."""
    marker = "@nested@"
    plain = read(path)
    here, key = _some(plain, rng)
    here[key] = marker
    write(path, plain)
    depth = rng.choice([100, 900, 100_000])
    deep = "[" * depth + "]" * depth
    path.write_text(path.read_text().replace(f'"{marker}"', deep).replace(f"'{marker}'", deep))


def crowded(path: Path, rng: Random, canary: Path) -> None:
    """Put very many small values in place of one: few bytes in a file, many in memory."""
    marker = "@crowd@"
    plain = read(path)
    here, key = _some(plain, rng)
    here[key] = marker
    write(path, plain)
    few = path.suffix in (".yaml", ".yml")
    crowd = "[" + rng.choice(["[],", "{},", "0,", '"",']) * (100_000 if few else 15_000_000) + "0]"
    path.write_text(path.read_text().replace(f'"{marker}"', crowd).replace(f"'{marker}'", crowd))


def laughing(path: Path, rng: Random, canary: Path) -> None:
    """Let YAML's anchors hold one another: ten to the eighth values in 500 bytes."""
    if path.suffix not in (".yaml", ".yml"):
        raise ValueError("only YAML has anchors")
    plain = read(path)
    here, key = _some(plain, rng)
    here[key] = "@laugh@"
    write(path, plain)
    text = path.read_text()
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    path.write_text("\n".join(lines) + "\n" + text.replace("'@laugh@'", "*a8"))


HARMS = (reworded, reworded, reworded, reworded, named_outside, named_outside, named_outside,
         retyped, retyped, swapped, swapped, lacking, lacking, renamed, nested, crowded,
         laughing)  # fmt: skip
