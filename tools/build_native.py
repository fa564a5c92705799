"""Compile what is native, where there is a C compiler and Python's headers; else postroom is only slower.

A hook of the build. It builds beside the source, for that is where an editable installation looks.
"""

import os
import shlex
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

TEXT = Path(__file__).parent.parent / "src" / "postroom" / "text"
SOURCE = TEXT / "_vector.c"
FLAGS = ["-std=c11", "-O2", "-fPIC", "-shared", "-Wall", "-Wextra", "-fvisibility=hidden"]


class NativeBuild(BuildHookInterface):  # type: ignore[type-arg]
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        if (built := build()) is None:
            self.app.display_warning("No C compiler or no headers of Python: mail is read more slowly.")
            return
        build_data["artifacts"].append(str(built.relative_to(self.root)))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def build() -> Path | None:
    """The extension, made beside its source; None where it cannot be made."""
    built = TEXT / f"_vector{sysconfig.get_config_var('EXT_SUFFIX')}"
    compiler = shlex.split(os.environ.get("CC", "cc"))
    made = built.with_suffix(f".{os.getpid()}")
    command = [*compiler, *FLAGS, f"-I{sysconfig.get_path('include')}", str(SOURCE), "-o", str(made)]
    try:
        subprocess.run(command, check=True, capture_output=True)
        made.replace(built)
    except (OSError, subprocess.CalledProcessError):
        made.unlink(missing_ok=True)
        built.unlink(missing_ok=True)  # one of an older version would be taken for it
        return None
    return built
