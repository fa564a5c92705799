"""Compile what is native, where there is a C compiler and Python's headers; else postroom is only slower.

A hook of the build. It builds beside the sources, for that is where an editable installation looks.
"""

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOMS = Path(__file__).parent.parent / "src" / "postroom"
SOURCES = (ROOMS / "text" / "_vector.c", ROOMS / "mime" / "_transfer.c")
FLAGS = ["-std=c11", "-O3", "-fPIC", "-shared", "-Wall", "-Wextra", "-fvisibility=hidden"]


class NativeBuild(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        built = [made for source in SOURCES if (made := build(source))]
        if len(built) < len(SOURCES):
            self.app.display_warning("No C compiler or no headers of Python: mail is read more slowly.")
        if built:
            build_data["artifacts"] += [str(made.relative_to(self.root)) for made in built]
            build_data["pure_python"] = False
            build_data["infer_tag"] = True


def build(source: Path) -> Path | None:
    """The extension, made beside its source; None where it cannot be made."""
    built = source.with_suffix(str(sysconfig.get_config_var("EXT_SUFFIX")))
    made = source.with_suffix(f".{os.getpid()}")
    compiler = shlex.split(os.environ.get("CC", "cc"))
    command = [*compiler, *FLAGS, f"-I{sysconfig.get_path('include')}", str(source), "-o", str(made)]
    try:
        subprocess.run(command, check=True, capture_output=True)
        made.replace(built)
    except (OSError, subprocess.CalledProcessError):
        made.unlink(missing_ok=True)
        built.unlink(missing_ok=True)  # one of an older version would be taken for it
        return None
    return built
