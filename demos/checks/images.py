"""Are the images there, all of them, and do they show something?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from demos.checks import Problem, check, in_words
from demos.model import Camera, Episode
from demos.signals.bodies import body
from demos.timeline import rate_hz


@check(severity="warning")
def missing_video(episode: Episode) -> Iterator[Problem]:
    """Find cameras that the source or the body promises and the episode does not have."""
    told = [
        what
        for what in episode.manifest.provenance.missing
        if any(word in what.lower() for word in ("video", "camera", "image"))
    ]
    absent = [name for name in _cameras(episode) if name not in episode.cameras]
    lacking = f"; the source lacks {', '.join(told)}" if told else ""
    for name in absent:
        yield Problem(
            f"there is no video of camera {name}{lacking}",
            hint="copy it and import again; state alone can be scored and replayed meanwhile",
            stream=f"image.{name}",
        )
    if told and not absent:
        yield Problem(f"the source lacks {', '.join(told)}", hint="copy it and import again")


def _cameras(episode: Episode) -> list[str]:
    described = body(episode)
    return list(described.cameras) if described is not None else []


@check(severity="warning")
def images_against_rows(
    episode: Episode, *, periods: float = 1.5, tolerated: float = 0.02, tolerance_s: float = 0.5
) -> Iterator[Problem]:
    """Compare the images of each camera with what its clock and the other streams promise."""
    stamps = [s.time_ns for s in episode.streams.values() if len(s) >= 2]
    for name, camera in episode.cameras.items():
        stream = f"image.{name}"
        count = len(camera)
        if count == 0:
            yield Problem(f"camera {name} took no image", stream=stream, severity="error")
            continue
        yield from _dropped(name, camera, periods, tolerated)
        if not stamps:
            continue
        first, last = min(int(t.min()) for t in stamps), max(int(t.max()) for t in stamps)
        late, early = int(camera.time_ns.min()) - first, last - int(camera.time_ns.max())
        if max(late, early) > tolerance_s * 1e9:
            which = ("start", late) if late >= early else ("end", early)
            yield Problem(
                f"for {in_words(which[1])} at the {which[0]} of the episode camera {name} "
                f"has no image; it has {count}",
                hint="start recording when the camera answers",
                stream=stream,
                start_ns=first if which[0] == "start" else int(camera.time_ns.max()),
                end_ns=int(camera.time_ns.min()) if which[0] == "start" else last,
                measured=which[1] / 1e9,
                unit="s",
            )


def _dropped(name: str, camera: Camera, periods: float, tolerated: float) -> Iterator[Problem]:
    steps = np.diff(camera.time_ns)
    usual = 1e9 / (camera.info.rate_hz or rate_hz(np.sort(camera.time_ns)))
    if len(steps) < 2 or not np.isfinite(usual):
        return
    if (steps <= 0).any():
        yield Problem(
            f"the stamps of camera {name} do not rise at {int((steps <= 0).sum())} images",
            hint="look at the camera driver's clock",
            stream=f"image.{name}",
            severity="error",
        )
    wide = np.flatnonzero(steps > periods * usual)
    lost = int(np.sum(np.rint(steps[wide] / usual) - 1))
    if lost <= tolerated * len(camera):
        return
    worst = int(wide[np.argmax(steps[wide])])
    yield Problem(
        f"camera {name} has {len(camera)} images where {len(camera) + lost} were due; "
        f"the longest hole lasts {in_words(steps[worst])}",
        hint="the encoder or the disk was too slow: a smaller image, or fewer cameras",
        stream=f"image.{name}",
        start_ns=int(camera.time_ns[worst]),
        end_ns=int(camera.time_ns[worst + 1]),
        measured=float(lost),
        unit="images",
        severity="error" if lost > 0.2 * len(camera) else None,
    )


@check(severity="error")
def blind_camera(
    episode: Episode, *, looks: int = 5, black: float = 8.0, alike: float = 1.0
) -> Iterator[Problem]:
    """Look at a few images: do they decode, are they black, are they all one picture?

    black and alike are grey levels of 255: the mean brightness below which an image is black,
    the mean difference below which two images are one.
    """
    for name, camera in episode.cameras.items():
        if not len(camera):
            continue
        stream = f"image.{name}"
        places = np.unique(np.linspace(0, len(camera) - 1, looks).astype(int))
        try:
            seen = camera.images([int(place) for place in places]).astype(np.float64)
        except Exception as error:  # codecs raise dozens of kinds on broken files
            yield Problem(
                f"images of camera {name} cannot be decoded: {error}",
                hint="`demos verify --deep` says whether the file is what was published",
                stream=stream,
                severity="critical",
            )
            continue
        brightness = seen.mean(axis=(1, 2, 3))
        if (brightness < black).all():
            yield Problem(
                f"camera {name} is black",
                hint="a lens cap, or no exposure",
                stream=stream,
                measured=float(brightness.max()),
                unit="grey levels",
            )
            continue
        change = float(np.abs(np.diff(seen, axis=0)).mean(axis=(1, 2, 3)).max(initial=0.0))
        if len(seen) > 2 and change < alike and _moves(episode):
            yield Problem(
                f"camera {name} shows one picture from start to end while the robot moves",
                hint="the camera driver has hung; restart it and redo",
                stream=stream,
                measured=change,
                unit="grey levels",
            )


def _moves(episode: Episode) -> bool:
    for name in ("joint_position", "joint_command"):
        stream = episode.streams.get(name)
        if stream is not None and len(stream) > 2:
            return bool(np.ptp(np.nan_to_num(stream.values), axis=0).max(initial=0.0) > 0.2)
    return False
