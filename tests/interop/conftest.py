"""Make the real lerobot importable beside a CPU build of PyTorch, without the network."""

from __future__ import annotations

import os
import warnings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
# each worker has one core: OpenMP's threads would wait for each other
os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

# torchvision's wheel was built for CUDA: its operators are missing without it, and importing it
# asks for this one. Where they are there, defining it again would abort.
if torch.version.cuda is None:
    vision = torch.library.Library("torchvision", "DEF")
    vision.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it says which of its libraries are not there
    import torchvision  # noqa: F401
