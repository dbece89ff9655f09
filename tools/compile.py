"""Compile the modules in which simulations spend their time: `make fast`. Needs mypy, setuptools and a C compiler.

Compiled copies go to the user's cache, under a hash of the sources; after a change of these the plain modules run
again until this is run once more.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from headway.core import compiled

CODE = """
import sys
from mypyc.build import mypycify
from setuptools import setup
scratch, out, *paths = sys.argv[1:]
flags = ["--ignore-missing-imports", "--cache-dir", f"{scratch}/mypy", "--config-file", ""]
extensions = mypycify([*flags, *paths], opt_level="3", debug_level="0", target_dir=f"{scratch}/c")
setup(
    name="headway-compiled", packages=[], py_modules=[], ext_modules=extensions,
    script_args=["--quiet", "build_ext", "--build-lib", out, "--build-temp", f"{scratch}/o"],
)
"""


def compile_into(folder: Path) -> None:
    """Compile everything; `folder` comes to be, or not, as a whole.

    Raises
    ------
    CalledProcessError
        When a tool is missing or fails.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix="making-") as scratch:
        out = Path(scratch) / "out"
        paths = [str(path.relative_to(compiled.ROOT)) for path in compiled.sources()]
        environment = {**os.environ, "HEADWAY_NATIVE": "0", "PYTHONPATH": str(compiled.ROOT)}
        command = [sys.executable, "-c", CODE, scratch, str(out), *paths]
        subprocess.run(command, check=True, cwd=compiled.ROOT, env=environment, stdout=subprocess.DEVNULL)
        (out / "ready").touch()
        try:
            out.rename(folder)
        except OSError:  # somebody else was faster
            if not (folder / "ready").exists():
                raise


def main() -> None:
    """Compile unless it is done already."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--into", type=Path, help="the folder to make (default: where it is looked for)")
    parser.add_argument("--optional", action="store_true", help="where it cannot be done, say so and succeed")
    parser.add_argument("--print-key", action="store_true", help="in the end, print the key of these sources")
    asked = parser.parse_args()
    folder = asked.into or compiled.folders()[-1]
    if (folder / "ready").exists():
        print(f"compiled already: {folder}")
        return
    try:
        compile_into(folder)
    except (OSError, subprocess.CalledProcessError) as error:
        if not asked.optional:
            raise
        print(f"simulations stay uncompiled, which is slower and nothing else: {error}", file=sys.stderr)
    else:
        print(f"compiled: {folder}")
    if asked.print_key:
        print(compiled.folders()[0].name)


if __name__ == "__main__":
    main()
