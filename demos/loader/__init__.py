"""Windows of steps for imitation learning, read from the store at the rate that training needs."""

from demos.loader.choices import Choices, LoadFailed, More, Progress
from demos.loader.grid import Source
from demos.loader.sampler import Sampler
from demos.loader.windows import Windows

__all__ = ["Choices", "LoadFailed", "More", "Progress", "Sampler", "Source", "Windows"]
