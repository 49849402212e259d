"""Ways to read what is not to be read."""

# ruff: noqa: PTH118, PTH208
# An attack is spelt as the kernel sees it.

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from pathlib import Path

from tests.propose.hostile.kit import AT_FDCWD, LIBRARY, Closed, T, call, escape, secret_in


@escape
def read_a_token_in_the_home() -> None:
    secret_in(T["token"])


@escape
def read_the_database() -> None:
    secret_in(T["database"])


@escape
def read_an_ssh_key() -> None:
    secret_in(T["ssh_key"])


@escape
def read_another_products_files() -> None:
    secret_in(T["other_product"])


@escape
def read_the_password_file() -> None:
    Path("/etc/shadow").read_bytes()


@escape
def list_the_home() -> None:
    os.listdir(T["home"])


@escape
def list_the_folder_above() -> None:
    os.listdir(Path(T["out"]).parent)


@escape
def climb_with_dots() -> None:
    secret_in(os.path.join(T["out"], os.path.relpath(T["token"], T["out"])))


@escape
def read_through_a_symlink() -> None:
    link = Path(T["out"], "link")
    link.symlink_to(T["token"])
    secret_in(str(link))


@escape
def read_through_a_hard_link() -> None:
    link = os.path.join(T["out"], "hard")
    os.link(T["token"], link)
    secret_in(link)


@escape
def read_through_a_path_descriptor() -> None:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY)
    secret = os.open(T["token"].lstrip("/"), os.O_RDONLY, dir_fd=root)
    os.read(secret, 100)


@escape
def reopen_a_path_descriptor() -> None:
    marked = os.open(T["token"], os.O_PATH)
    secret_in(f"/proc/self/fd/{marked}")


@escape
def open_by_a_handle() -> None:
    handle = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
    mount = ctypes.c_int()
    call("name_to_handle_at", AT_FDCWD, T["token"].encode(), handle, ctypes.byref(mount), 0)


@escape
def read_the_environment_of_the_parent() -> None:
    secret_in(f"/proc/{T['pid']}/environ")


@escape
def read_the_environment_of_the_victim() -> None:
    secret_in(f"/proc/{T['victim']}/environ")


@escape
def read_the_environment_of_process_1() -> None:
    Path("/proc/1/environ").read_bytes()


@escape
def read_the_environment_of_the_supervisor() -> None:
    Path(f"/proc/{T['supervisor']}/environ").read_bytes()


@escape
def read_any_environment_at_all() -> None:
    for name in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if T["canary"].encode() in Path("/proc", name, "environ").read_bytes():
                return
    raise Closed("none shows the secret")


@escape
def read_own_environment_by_proc() -> None:
    Path("/proc/self/environ").read_bytes()


@escape
def find_the_secret_in_own_environment() -> None:
    if not any(T["canary"] in value for value in os.environ.values()):  # noqa: TID251  it is what is looked at
        raise Closed("the environment is a short list")


@escape
def read_the_memory_of_the_victim() -> None:
    Path(f"/proc/{T['victim']}/maps").read_bytes()


@escape
def list_the_descriptors_of_the_victim() -> None:
    os.listdir(f"/proc/{T['victim']}/fd")


@escape
def enter_the_root_of_the_victim() -> None:
    secret_in(f"/proc/{T['victim']}/root{T['token']}")


@escape
def enter_the_folder_of_the_victim() -> None:
    os.listdir(f"/proc/{T['victim']}/cwd")


@escape
def use_an_inherited_descriptor() -> None:
    for number in set(range(3, 256)) - set(T["pipe"]):
        with contextlib.suppress(OSError):
            os.fstat(number)
            return
    raise Closed("nothing was left open")


@escape
def read_the_raw_disk() -> None:
    for path in ("/dev/mem", "/dev/vda", "/dev/sda", "/dev/nvme0n1", "/dev/kmsg"):
        with contextlib.suppress(OSError):
            os.close(os.open(path, os.O_RDONLY))
            return
    raise Closed("no device can be opened")


@escape
def watch_the_home() -> None:
    descriptor = call("inotify_init1", 0)
    if LIBRARY.inotify_add_watch(descriptor, T["home"].encode(), 0xFFF) < 0:
        raise OSError(ctypes.get_errno(), "watch")


@escape
def watch_everything() -> None:
    call("fanotify_init", 0, 0)
