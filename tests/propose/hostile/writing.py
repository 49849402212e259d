"""Ways to write what is not to be written."""

# ruff: noqa: PTH101, PTH102, PTH104, PTH105, PTH108, PTH116, PTH118, PTH211, S103, S108
# An attack is spelt as the kernel sees it.

from __future__ import annotations

import ctypes
import os
import stat
from pathlib import Path

from tests.propose.hostile.kit import AT_FDCWD, LIBRARY, Closed, T, escape, own, put


@escape
def write_the_home() -> None:
    put(os.path.join(T["home"], "planted"))


@escape
def write_the_database() -> None:
    with open(T["database"], "ab") as file:  # noqa: PTH123  the mode is the point
        file.write(b"x")


@escape
def truncate_the_database() -> None:
    os.truncate(T["doomed"], 0)


@escape
def truncate_while_opening_to_read() -> None:
    os.open(T["doomed"], os.O_RDONLY | os.O_TRUNC)


@escape
def rename_over_the_database() -> None:
    os.replace(own("cuckoo"), T["doomed"])


@escape
def rename_the_database_away() -> None:
    os.rename(T["doomed"], os.path.join(T["out"], "stolen"))


@escape
def exchange_with_the_database() -> None:
    arguments = (AT_FDCWD, own("changeling").encode(), AT_FDCWD, T["doomed"].encode(), 2)
    if LIBRARY.renameat2(*arguments) != 0:
        raise OSError(ctypes.get_errno(), "renameat2")


@escape
def link_own_file_outside() -> None:
    os.link(own("seed"), os.path.join(T["home"], "grown"))


@escape
def symlink_outside() -> None:
    os.symlink(T["token"], os.path.join(T["home"], "arrow"))


@escape
def remove_a_file_outside() -> None:
    os.unlink(T["removable"])


@escape
def make_a_folder_outside() -> None:
    os.mkdir(os.path.join(T["home"], "nest"))


@escape
def plant_a_git_hook() -> None:
    put(os.path.join(T["repository"], ".git", "hooks", "pre-commit"))


@escape
def change_the_git_config() -> None:
    put(os.path.join(T["repository"], ".git", "config"))


@escape
def make_a_repository_above() -> None:
    os.mkdir(Path(T["out"]).parent / ".git")


@escape
def write_the_context() -> None:
    put(T["context_file"])


@escape
def unlock_and_write_the_context() -> None:
    os.chmod(T["context_file"], 0o666)
    put(T["context_file"])


@escape
def add_to_the_context() -> None:
    put(os.path.join(T["context"], "extra.json"))


@escape
def swap_the_context() -> None:
    os.rename(T["context"], T["context"] + ".old")


@escape
def hard_link_the_context_and_write() -> None:
    link = os.path.join(T["out"], "alias")
    os.link(T["context_file"], link)
    put(link)


@escape
def write_to_tmp() -> None:
    put(f"/tmp/{T['canary']}")


@escape
def write_to_var_tmp() -> None:
    put(f"/var/tmp/{T['canary']}")


@escape
def write_to_shared_memory() -> None:
    put(f"/dev/shm/{T['canary']}")


@escape
def write_to_etc() -> None:
    put(f"/etc/{T['canary']}")


@escape
def write_to_the_installed_programs() -> None:
    put(f"/usr/lib/{T['canary']}")


@escape
def write_a_kernel_setting() -> None:
    path = "/proc/sys/vm/overcommit_ratio"
    put_back = Path(path).read_bytes()
    Path(path).write_bytes(put_back)


@escape
def open_the_mode_of_the_database() -> None:
    os.chmod(T["doomed"], 0o777)
    if stat.S_IMODE(os.stat(T["doomed"]).st_mode) != 0o777:
        raise Closed("it looks done and is not")


@escape
def open_the_mode_of_a_program_by_descriptor() -> None:
    descriptor = os.open(T["context_file"], os.O_RDONLY)
    os.fchmod(descriptor, 0o777)
    if stat.S_IMODE(os.stat(T["context_file"]).st_mode) != 0o777:
        raise Closed("it looks done and is not")


@escape
def change_the_times_of_the_database() -> None:
    os.utime(T["doomed"], (1, 1))
    if os.stat(T["doomed"]).st_mtime != 1:
        raise Closed("it looks done and is not")


@escape
def mark_the_database_with_an_attribute() -> None:
    os.setxattr(T["doomed"], "user.pwned", b"1")
    if "user.pwned" not in os.listxattr(T["doomed"]):
        raise Closed("it looks done and is not")


@escape
def make_a_pipe_as_the_answer() -> None:
    os.mkfifo(os.path.join(T["out"], "pipe"))


@escape
def make_a_socket_file() -> None:
    os.mknod(os.path.join(T["out"], "door"), stat.S_IFSOCK | 0o600)


@escape
def make_a_device() -> None:
    os.mknod(os.path.join(T["out"], "disk"), stat.S_IFBLK | 0o600, os.makedev(8, 0))
