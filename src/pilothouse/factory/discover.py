"""What this machine has to offer, as texts of the capability grammar."""

from __future__ import annotations

import logging
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import psutil

from pilothouse.canonical import Json
from pilothouse.fleet import capability

GPU_SECONDS = 15.0
"""How long the GPUs' own tool may take; a driver that hangs offers nothing."""
_GPU_QUERY = ("--query-gpu=index,uuid,memory.total,driver_version,name", "--format=csv,noheader,nounits")
_CUDA = re.compile(r"CUDA Version:\s*([0-9]+(?:\.[0-9]+)*)")
_UNFIT = re.compile(r"[^A-Za-z0-9._+/@-]+")
_MB_PER_GB = 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a factory tells the engine of itself; the engines are those whose programs are on this machine.

    `usd_per_hour` is the price of one seat, if its owner knows it. `gpu_names` are for this machine alone.
    """

    seats: int
    gpus: int
    capabilities: tuple[str, ...]
    engines: tuple[str, ...]
    pools: tuple[str, ...] | None
    usd_per_hour: float | None = None
    gpu_names: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Json]:
        """Return the facts as JSON."""
        return {
            "seats": self.seats,
            "gpus": self.gpus,
            "capabilities": list(self.capabilities),
            "engines": list(self.engines),
            "pools": None if self.pools is None else list(self.pools),
            "usd_per_hour": self.usd_per_hour,
        }

    @property
    def abilities(self) -> capability.Offer:
        """What a job's requirements are held against."""
        return capability.Offer.read(self.capabilities)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU as its own tool describes it; the uuid names it in whatever order programs count."""

    index: str
    uuid: str
    model: str
    memory_gb: int
    driver: str


def discover(
    *,
    seats: int,
    engines: Mapping[str, Sequence[str]],
    path: str | None,
    pools: Collection[str] | None = None,
    extra: Collection[str] = (),
    visible: str | None = None,
) -> Facts:
    """Return what this machine has, with what its owner adds; engines are looked for in `path`.

    `visible` is the factory's own CUDA_VISIBLE_DEVICES: GPUs that are hidden from it are not its to offer.

    Raises BadValue, with the place, for an addition that breaks the grammar.
    """
    gpus, cuda = _gpus(path)
    gpus = [gpu for gpu in gpus if visible is None or _is_visible(gpu, visible)]
    found = tuple(sorted(name for name, words in engines.items() if words and shutil.which(words[0], path=path)))
    texts = [*_of_machine(), *_of_gpus(gpus, cuda), *(f"engine:{_fit(name)}" for name in found), *extra]
    return Facts(
        seats=seats,
        gpus=len(gpus),
        gpu_names=tuple(gpu.uuid for gpu in gpus),
        capabilities=capability.Offer.read(texts).texts(),
        engines=found,
        pools=None if pools is None else tuple(sorted(pools)),
    )


def read_gpus(listing: str) -> list[Gpu]:
    """Read the lines `index, uuid, memory in MiB, driver, name`; a line of another form is no GPU."""
    found = []
    for line in listing.splitlines():
        cells = [cell.strip() for cell in line.split(",", 4)]
        if len(cells) == 5 and all(cells) and cells[2].isdecimal():
            index, uuid, memory, driver, model = cells
            memory_gb = int(memory) // _MB_PER_GB
            found.append(Gpu(index=index, uuid=uuid, model=model, memory_gb=memory_gb, driver=driver))
    return found


def _is_visible(gpu: Gpu, visible: str) -> bool:
    """Whether CUDA would show it: named by its index or by the beginning of its uuid."""
    named = [word.strip() for word in visible.split(",") if word.strip()]
    return any(word == gpu.index or (word.startswith("GPU-") and gpu.uuid.startswith(word)) for word in named)


def _of_machine() -> Iterator[str]:
    yield f"os:{_fit({'Darwin': 'macos'}.get(platform.system(), platform.system()))}"
    yield f"arch:{_fit(platform.machine())}"
    yield f"cores:{_cores()}"
    yield f"memory_gb:{psutil.virtual_memory().total // 2**30}"
    yield f"python:{platform.python_version().partition('+')[0]}"


def _cores() -> int:
    """Return the cores that this process may use, which are fewer than the machine's in a container."""
    usable = getattr(os, "sched_getaffinity", None)
    return len(usable(0)) if usable is not None else os.cpu_count() or 1


def _of_gpus(gpus: Sequence[Gpu], cuda: str) -> Iterator[str]:
    if not gpus:
        return
    yield "gpu:nvidia"
    yield f"gpus:{len(gpus)}"
    # The least of them: whoever asks for so much must get it from whichever GPU it is given.
    yield f"gpu_memory_gb:{min(gpu.memory_gb for gpu in gpus)}"
    for gpu in gpus:
        yield f"gpu_model:{_fit(gpu.model)}"
    yield f"driver:{_fit(gpus[0].driver)}"
    if cuda:
        yield f"cuda:{cuda}"


def _gpus(path: str | None) -> tuple[list[Gpu], str]:
    """Return the GPUs and their CUDA version; a machine without the tool, or whose tool fails, has none."""
    tool = shutil.which("nvidia-smi", path=path)
    if tool is None:
        return [], ""
    gpus = read_gpus(_told_by(tool, *_GPU_QUERY))
    cuda = _CUDA.search(_told_by(tool)) if gpus else None
    return gpus, "" if cuda is None else cuda[1]


def _told_by(tool: str, *arguments: str) -> str:
    try:
        told = subprocess.run(  # noqa: S603  the driver's own tool with fixed words
            [tool, *arguments], check=True, capture_output=True, text=True, timeout=GPU_SECONDS
        )
    except (OSError, UnicodeDecodeError, subprocess.SubprocessError) as error:
        log.warning("The GPUs cannot be asked: %s", error, extra={"action": "gpus_unknown"})
        return ""
    return told.stdout


def _fit(text: str) -> str:
    """Return the text as a value of the grammar."""
    return _UNFIT.sub("-", text).strip("-._+/@") or "unknown"
