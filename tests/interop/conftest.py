"""What the real lerobot needs before its first import, in every process that imports it.

Forked workers inherit it; a spawned one would have to import this file first.
"""

# mypy: disable-error-code="import-not-found,import-untyped"

from __future__ import annotations

import importlib.util
import os
import sys
import warnings
from pathlib import Path
from types import ModuleType

os.environ["HF_HUB_OFFLINE"] = "1"
# each worker has one core: OpenMP's threads would wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")
_KEPT: list[object] = []


def _own_tests_first() -> None:
    """Let `tests` be this project's folder: draccus installs a package of that name."""
    ours = str(Path(__file__).resolve().parents[1])
    if ours not in list(getattr(sys.modules.get("tests"), "__path__", [])):
        package = ModuleType("tests")
        package.__path__ = [ours]
        sys.modules["tests"] = package


def _declare_nms() -> None:
    """Declare the one operator that torchvision looks up while it is imported.

    Its wheel is built for CUDA; beside a CPU build of torch its library does not load, and the
    look-up fails. A torchvision that works declares it itself, and twice is an error.
    """
    import torch

    if torch.version.cuda is None and not hasattr(torch.ops.torchvision, "nms"):
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _KEPT.append(library)  # it is gone with the object


_own_tests_first()
if importlib.util.find_spec("torch") is not None:
    _declare_nms()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says which of its libraries are not there
        import torchvision  # noqa: F401
