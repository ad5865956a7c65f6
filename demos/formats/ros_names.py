"""What names of ROS topics and reference frames say: whose signal, and state or command."""

from __future__ import annotations

import re
from collections.abc import Iterable

from demos.formats.names import word

_COMMAND = re.compile(
    r"commands?|commanded|cmds?|targets?|desired|goals?|reference|setpoints?|actions?|leader|master"
)
_GENERIC = re.compile(
    r"wrench(es)?|fts?|forces?|torques?|forcetorque|sensors?|data|raw|states?|status|filtered|imus?"
    r"|poses?|twist|stamped|measured|current|broadcaster|link|frame|optical|vel|joints?|topic"
    r"|cmd|command"
)
_PICTURES = re.compile(
    r"images?|image_(raw|rect|rect_raw|rect_color|color|mono)|compressed(_video|depth)?|ffmpeg"
    r"|h26[45]|video|raw|rgb|colou?r|depth|theora"
)
_TRANSPORTS = re.compile(r"compressed(_video|Depth)?|ffmpeg|h26[45]|theora")
_LENSES = re.compile(r"cameras?|sensors?|image")


def is_command(topic: str) -> bool:
    """Say whether a topic's name speaks of what is wanted, not of what is."""
    words = re.split(r"[^a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", topic).lower())
    return any(_COMMAND.fullmatch(each) for each in words)


def flat(topic: str) -> str:
    """Write a topic's name as one word."""
    return word(topic.strip("/").replace("/", "_"))


def place(topic: str, frame: str = "", known: Iterable[str] = ()) -> str:
    """Say where on the body a signal is from: a place of the body, or the words of the topic.

    frame: its reference frame, asked where the topic says nothing. known: the places that the
    body names. Empty where nobody says any.
    """
    for name in (frame, topic):
        plain = _plain(name)
        inside = [each for each in known if _plain(each) and _plain(each) in plain]
        if inside:
            return max(inside, key=len)
    for name in (topic, frame):
        words = [w for w in re.split(r"[/_\s]+", name) if w and not _GENERIC.fullmatch(w.lower())]
        if any(not w.isdigit() for w in words):
            return word("_".join(words))
    return ""


def camera(topic: str) -> str:
    """Name the camera of an image topic: its words without those that only say `image`."""
    parts = [part for part in topic.split("/") if part]
    while parts and _PICTURES.fullmatch(parts[-1].lower()):
        parts.pop()
    while len(parts) > 1 and _LENSES.fullmatch(parts[0].lower()):
        parts.pop(0)
    return word("_".join(parts)) if parts else "camera"


def lens(topic: str) -> str:
    """Return the folder that an image topic shares with its camera_info."""
    parts = topic.split("/")
    while len(parts) > 1 and _TRANSPORTS.fullmatch(parts[-1]):
        parts.pop()
    return "/".join(parts[:-1])


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
