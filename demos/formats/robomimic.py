"""robomimic's HDF5 layout: many demonstrations in one file, what its keys and attributes mean.

data            attributes: total, env_args (JSON: env_name, type, env_kwargs)
  demo_0        attributes: num_samples, model_file (MJCF)
    actions     (N, A)      obs/<key>, next_obs/<key> (N, ...)
    states      (N, D)      rewards, dones (N,)
mask/<key>      names of demonstrations
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from demos.errors import DemosError, ImportFailed
from demos.formats import hdf5
from demos.formats.files import plain_json
from demos.formats.names import counted

RATE_HZ = 20.0
"""robosuite's default control frequency."""

SPLITS = frozenset({"train", "valid", "val", "validation", "test"})
PROFICIENCY = ("better", "okay", "worse")
"""Masks of the multi-human datasets: how skilled the operator was, not how the episode went."""

IMAGE = "_image"
MOST_MODEL_BYTES = 1_000_000
STREAM, INFO = "stream", "stream_info"
"""Attributes that an export of ours gives a dataset: its stream's name, and its StreamInfo."""

_UNITS = (
    (r"robot\d+_joint_pos", "rad"),
    (r"robot\d+_joint_vel", "rad/s"),
    (r"robot\d+_eef_pos", "m"),
    (r"robot\d+_(eef_quat\w*|joint_pos_cos|joint_pos_sin)", "1"),
)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of all its demonstrations. `masks`: filter key to names of demos."""

    demos: tuple[str, ...]
    total: int | None
    environment: Mapping[str, Any]
    attributes: Mapping[str, Any]
    masks: Mapping[str, tuple[str, ...]]
    problems: tuple[str, ...] = ()

    @property
    def settings(self) -> Mapping[str, Any]:
        """The environment's own settings: robosuite's keyword arguments."""
        found = self.environment.get("env_kwargs")
        return found if isinstance(found, dict) else {}

    @property
    def name(self) -> str:
        """The environment's name, empty where it has none."""
        return str(self.environment.get("env_name") or "")

    @property
    def version(self) -> str:
        """The version of the environment's program, empty where it has none."""
        return str(self.environment.get("env_version") or "")

    @property
    def robots(self) -> tuple[str, ...]:
        """The names of the robots in the environment."""
        found = self.settings.get("robots", ())
        found = [found] if isinstance(found, str) else found
        return tuple(str(name) for name in found) if isinstance(found, list | tuple) else ()

    @property
    def rate_hz(self) -> float | None:
        """Control frequency, where the environment's settings say it."""
        rate = self.settings.get("control_freq")
        known = isinstance(rate, int | float) and not isinstance(rate, bool) and 0.01 < rate < 1e5
        return float(rate) if known and rate is not None else None

    @property
    def began(self) -> datetime | None:
        """When robosuite began to record: its `date` and `time`, taken as UTC."""
        text = f"{self.attributes.get('date', '')} {self.attributes.get('time', '')}"
        try:
            return datetime.strptime(text, "%m-%d-%Y %H:%M:%S").replace(tzinfo=UTC)
        except ValueError:
            return None

    def masks_of(self, demo: str) -> tuple[str, ...]:
        """List the filter keys that a demonstration is under."""
        return tuple(sorted(key for key, demos in self.masks.items() if demo in demos))


def header(file: Any) -> Header:
    """Read what a file says of all its demonstrations; they are sorted by number."""
    demos = sorted((n for n in hdf5.names(file, "data") if n.startswith("demo")), key=counted)
    if not demos:
        raise ImportFailed("data holds no demonstration").with_hint(
            "robomimic's files have groups data/demo_0, data/demo_1, ..."
        )
    problems: list[str] = []
    said = hdf5.attributes(file, "data")
    environment = _json(said, "env_args", problems)
    if not environment and "env" in said:
        environment = {
            "env_name": said["env"],
            "env_version": said.get("repository_version"),
            "env_kwargs": _json(said, "env_info", problems),
        }
    masks = {}
    for key in hdf5.names(file, "mask"):
        try:
            masks[key] = tuple(hdf5.texts(file, f"mask/{key}"))
        except DemosError as error:
            problems.append(str(error))
            continue
        if absent := sorted(set(masks[key]) - set(demos), key=counted):
            problems.append(f"mask/{key} names {len(absent)} demos that are not there: {absent[0]}")
    total = said.get("total")
    return Header(
        tuple(demos),
        total if isinstance(total, int) else None,
        environment,
        said,
        masks,
        tuple(problems),
    )


def _json(said: Mapping[str, Any], name: str, problems: list[str]) -> dict[str, Any]:
    text = said.get(name, "{}")
    try:
        plain = plain_json(json.loads(text)) if isinstance(text, str) else None
        json.dumps(plain, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        problems.append(f"data has an attribute {name} that is no JSON: {error}")
        return {}
    if not isinstance(plain, dict):
        problems.append(f"data has an attribute {name} that is no JSON object")
        return {}
    return plain


def instruction(said: Mapping[str, Any], attributes: Mapping[str, Any]) -> str:
    """Find the words of a demonstration: robosuite's ep_meta, or LIBERO's problem_info."""
    for place, key in ((said, "ep_meta"), (attributes, "problem_info")):
        found = _json(place, key, [])
        words = found.get("lang") or found.get("language_instruction")
        words = words[0] if isinstance(words, list) and words else words
        if isinstance(words, str) and words.strip():
            return words.strip().strip('"')
    return ""


def unit_of(key: str) -> str:
    """Return the unit of robosuite's observation of that name, or `unknown`."""
    return next((unit for pattern, unit in _UNITS if re.fullmatch(pattern, key)), "unknown")


@dataclass(frozen=True, slots=True)
class Judged:
    """An outcome, and by which rule it was told. `value` empty: it cannot be told."""

    value: str
    rule: str = field(default="")


def outcome(
    said: Mapping[str, Any], rewards: npt.NDArray[Any] | None, settings: Mapping[str, Any]
) -> Judged:
    """Tell success from what a demonstration has: its own word for it, or a sparse reward."""
    word = said.get("outcome")
    if word in ("success", "partial", "failure", "aborted"):
        return Judged(str(word), "the demonstration's attribute `outcome`")
    if isinstance(said.get("success"), bool):
        value = "success" if said["success"] else "failure"
        return Judged(value, "the demonstration's attribute `success`")
    if rewards is None or not rewards.size:
        return Judged("", "there are no rewards")
    if settings.get("reward_shaping") is True or not np.isin(rewards, (0, 1)).all():
        return Judged("", "the reward is shaped: it does not say when the task was done")
    if rewards.any():
        return Judged("success", "a step has reward 1, which is the environment's own check")
    if settings.get("reward_shaping") is False:
        return Judged("failure", "the reward is sparse and no step has any")
    return Judged("", "no step has a reward, and the file does not say whether they were recorded")


def proficiency(masks: Sequence[str]) -> str:
    """Return how skilled the operator was, by the multi-human datasets' masks, or nothing."""
    found = [word for word in PROFICIENCY if word in masks]
    return found[0] if len(found) == 1 else ""


def split(masks: Sequence[str]) -> str:
    """Return the split that a demonstration is in, or nothing where it is in none or in several."""
    found = [key for key in masks if key in SPLITS]
    return found[0] if len(found) == 1 else ""
