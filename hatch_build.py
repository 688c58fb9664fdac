"""Building the engine in C along with the package; hatchling loads this by its name.

An editable install gets the libraries beside their source, a wheel has them inside.
Where they can't be built, the package is built without them, and says so.
"""

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.wheel import WheelBuilderConfig
from packaging.tags import sys_tags

NATIVE = "denoise_daisy/denoisers/native"

PLATFORM = "manylinux_2_17_x86_64"

PROCESSORS = {
    "engine-x86-64.so": "x86_64",
    "engine-x86-64-v3.so": "x86_64_v3",
    "engine-x86-64-v4.so": "x86_64_v4",
}
"""The libraries, and the processors that each is for."""

FLAGS = [
    *("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-sanitize=all"),
    *("-Wno-psabi", "-std=gnu11", "-shared", "-fPIC", "-fvisibility=hidden", "-s"),
    *("-target", "x86_64-linux-gnu.2.17"),
    # Without the compiler's own runtime, which takes longer to make than the engine;
    # an engine that needs it is not linked.
    *("-nostdlib", "-Wl,-z,defs"),
]


class NotBuilt(Exception):
    """There are no libraries, and why."""


class EngineHook(BuildHookInterface[WheelBuilderConfig]):
    """Adds the libraries to what is built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and put the libraries where this version of the wheel has them."""
        native = Path(self.root, NATIVE)
        self.folder = TemporaryDirectory()
        libraries = Path(self.folder.name)
        try:
            compile_engine(native, libraries)
            if version == "editable":
                replace(libraries, native)
            else:
                build_data["force_include"] |= {
                    str(libraries / name): f"{NATIVE}/{name}" for name in PROCESSORS
                }
                build_data |= {"pure_python": False, "tag": f"py3-none-{PLATFORM}"}
        except (NotBuilt, OSError) as error:
            if version == "editable":
                for name in PROCESSORS:
                    (native / name).unlink(missing_ok=True)
            self.app.display_warning(
                "denoise_daisy is built without its engine in C and will denoise with "
                f"ndsafir itself: {error}."
            )

    def finalize(
        self,
        version: str,
        build_data: dict[str, Any],
        artifact_path: str,
    ) -> None:
        """Remove what is in the wheel by now."""
        self.folder.cleanup()


def compile_engine(native: Path, libraries: Path) -> None:
    """Make all libraries of the source in `native`; raises NotBuilt."""
    if PLATFORM not in {tag.platform for tag in sys_tags()}:
        raise NotBuilt(f"this Python loads no libraries for {PLATFORM}")
    ziglang = find_spec("ziglang")
    if ziglang is None or ziglang.origin is None:
        raise NotBuilt("its compiler, the package ziglang, is not installed")
    zig = Path(ziglang.origin).with_name("zig")
    # Nothing else of the environment: CPATH and its like would change what is compiled.
    cache = str(libraries / "cache")
    environment = {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    for name, processor in PROCESSORS.items():
        end = subprocess.run(
            [
                *(str(zig), "cc", *FLAGS, f"-mcpu={processor}"),
                *("engine.c", "-o", str(libraries / name), "-lm", "-lpthread", "-lc"),
            ],
            cwd=native,
            env=environment,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if end.returncode:
            raise NotBuilt(f"the compiler ended with {end.returncode} at {name}")


def replace(libraries: Path, native: Path) -> None:
    """Put the libraries beside their source; who has an old one open keeps it."""
    with TemporaryDirectory(dir=native) as folder:
        for name in PROCESSORS:
            shutil.copy(libraries / name, folder)
            Path(folder, name).replace(native / name)
