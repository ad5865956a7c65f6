"""Which image of a video was taken when, where the stamps lie beside the video."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from demos.errors import ImportFailed
from demos.formats.notes import Notes
from demos.model import Nanoseconds

Places = npt.NDArray[np.int64]


def paired(
    images: int,
    time_ns: Nanoseconds,
    camera: str,
    notes: Notes,
    known: npt.NDArray[np.bool_] | None = None,
) -> tuple[Nanoseconds, Places | None]:
    """Give the images of a video their stamps one by one, from the first.

    known: (n,) whether a stamp is one; images without are left out of what is shown. Returns the
    stamps, and the display positions they belong to or None where that is all images. Raises
    ImportFailed where nothing is left.
    """
    count = min(images, len(time_ns))
    if images != len(time_ns):
        notes.find(
            "images",
            f"{camera} has {images} images and {len(time_ns)} stamps; "
            "they are paired from the first, the rest is not shown",
            "compare with the recorder's log: images may have been dropped before the end",
            stream=f"image.{camera}",
            measured=float(images - len(time_ns)),
            unit="images",
        )
    shown = np.arange(count, dtype=np.int64)
    if known is not None and not known[:count].all():
        notes.find(
            "clock",
            f"{int((~known[:count]).sum())} images of {camera} have no stamp and are not shown",
            "they stay in the file; mend the stamps in the source and import again",
            "error",
            stream=f"image.{camera}",
        )
        shown = shown[known[:count]]
    if not len(shown):
        raise ImportFailed(f"no image of {camera} has a stamp").with_hint(
            "copy the recording whole from its source"
        )
    return time_ns[shown], None if len(shown) == images else shown
