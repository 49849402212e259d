"""What a machine says of itself can be required of it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pilothouse.errors import BadValue
from pilothouse.factory.discover import Facts, Gpu, discover, read_gpus
from pilothouse.fleet.capability import parse_all, unmet

LISTING = "0, GPU-aa, 143771, 550.54.15, NVIDIA H200\n1, GPU-bb, 81920, 550.54.15, NVIDIA A100-SXM4-80GB\n"
SMI = f"""#!/bin/sh
case "$1" in
--query-gpu=*) printf '{LISTING.replace(chr(10), chr(92) + "n")}' ;;
*) echo '| NVIDIA-SMI 550.54.15   Driver Version: 550.54.15   CUDA Version: 12.4  |' ;;
esac
"""


def tool(folder: Path, name: str, text: str = "#!/bin/sh\n") -> None:
    """Put a program into a folder."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


def found(path: str, *extra: str, **engines: tuple[str, ...]) -> Facts:
    """Return what is found with this search path."""
    return discover(seats=3, engines=engines, path=path, pools=("b", "a"), extra=extra)


def test_every_machine_has_its_platform_and_its_size(tmp_path: Path) -> None:
    """In the grammar in which jobs ask, so that one can ask for it."""
    facts = found(str(tmp_path))

    assert unmet(parse_all(["os", "arch", "cores>=1", "memory_gb>=0", "python>=3.11"]), facts.abilities) == ()
    assert (facts.seats, facts.gpus, facts.engines, facts.pools) == (3, 0, (), ("a", "b"))
    assert not facts.abilities.of("gpu")


def test_gpus_are_found_by_their_own_tool(tmp_path: Path) -> None:
    """With the memory that whichever of them has at least, and the newest CUDA that the driver knows."""
    tool(tmp_path, "nvidia-smi", SMI)

    facts = found(f"{tmp_path}{os.pathsep}{os.defpath}")

    wanted = ["gpu:nvidia", "gpus>=2", "gpu_memory_gb>=80", "gpu_model:nvidia-h200", "cuda>=12.1", "driver>=550"]
    assert unmet(parse_all(wanted), facts.abilities) == ()
    assert unmet(parse_all(["gpu_memory_gb>=81"]), facts.abilities) != ()
    assert (facts.gpus, facts.gpu_names) == (2, ("GPU-aa", "GPU-bb"))


@pytest.mark.parametrize(
    ("visible", "names"),
    [("1", ("GPU-bb",)), ("GPU-a", ("GPU-aa",)), ("1, 0", ("GPU-aa", "GPU-bb")), ("", ()), ("7,G", ())],
)
def test_gpus_that_are_hidden_from_the_factory_are_not_offered(
    visible: str, names: tuple[str, ...], tmp_path: Path
) -> None:
    """By index or by the beginning of a uuid, as CUDA reads the variable."""
    tool(tmp_path, "nvidia-smi", SMI)
    path = f"{tmp_path}{os.pathsep}{os.defpath}"

    facts = discover(seats=1, engines={}, path=path, visible=visible)

    assert (facts.gpu_names, facts.gpus) == (names, len(names))


@pytest.mark.parametrize("text", ["#!/bin/sh\nexit 9\n", "#!/bin/sh\necho 'No devices were found'\n", "no program"])
def test_a_tool_that_fails_finds_no_gpu(text: str, tmp_path: Path) -> None:
    """A machine without working GPUs is a machine without GPUs."""
    tool(tmp_path, "nvidia-smi", text)

    assert found(f"{tmp_path}{os.pathsep}{os.defpath}").gpus == 0


def test_a_tool_that_hangs_finds_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver in trouble may not keep the factory from starting."""
    monkeypatch.setattr("pilothouse.factory.discover.GPU_SECONDS", 0.2)
    tool(tmp_path, "nvidia-smi", "#!/bin/sh\nexec sleep 60\n")

    assert found(f"{tmp_path}{os.pathsep}{os.defpath}").gpus == 0


def test_lines_that_are_no_gpu_are_passed_over() -> None:
    """A model may hold commas; a memory is a number."""
    assert read_gpus("0, GPU-a, [N/A], 1.2, A\n0, GPU-a, 81920, 1.2\n\nonly\n0,,1,2,3\n") == []
    (gpu,) = read_gpus("3, GPU-c, 143771, 550.54, H200, of a kind\n")
    assert gpu == Gpu(index="3", uuid="GPU-c", model="H200, of a kind", memory_gb=140, driver="550.54")


def test_engines_count_where_their_programs_are(tmp_path: Path) -> None:
    """A name in the settings alone runs nothing."""
    tool(tmp_path, "scribe")

    facts = found(str(tmp_path), scribe=("scribe", "-p"), absent=("no-such-engine",))

    assert facts.engines == ("scribe",)
    assert unmet(parse_all(["engine:scribe"]), facts.abilities) == ()


def test_the_owner_may_add_what_cannot_be_found(tmp_path: Path) -> None:
    """By the same grammar; what breaks it is refused."""
    assert unmet(parse_all(["disk:fast"]), found(str(tmp_path), "disk:fast").abilities) == ()
    with pytest.raises(BadValue, match="disk fast"):
        found(str(tmp_path), "disk fast")


def test_the_facts_go_out_as_json(tmp_path: Path) -> None:
    """As the server's heartbeat wants them."""
    facts = found(str(tmp_path))

    assert facts.as_json() == {
        "seats": 3,
        "gpus": 0,
        "capabilities": list(facts.capabilities),
        "engines": [],
        "pools": ["a", "b"],
        "usd_per_hour": None,
    }
