"""
What a plugin's installed files are, as one SHA-256 to pin it by, without importing any of them.

Hashed is a list with a line for each file, in the order of the files' names:

    <SHA-256 of the file, in hex><two spaces><the file's name><newline>

so that ``sha256sum`` can make it as well. The files are

- those that the distribution's RECORD lists, but of its ``.dist-info`` only ``METADATA`` and ``entry_points.txt``:
  the others are the installer's notes, and differ from one installation to the next;
- every file in the package that the entry point leads to, wherever an import would find it, listed or not:
  so an editable installation is hashed by its sources, and a file that somebody put beside the listed ones counts;
- but nothing in a ``__pycache__`` folder.

A name is relative to the folder that the package or the ``.dist-info`` lies in, with forward slashes.
Where a listed file cannot be read, or there is none at all, there is no hash, and no pin can fit.
"""

import hashlib
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Final

_KEPT_NOTES: Final = frozenset({"METADATA", "entry_points.txt"})


def distribution_sha256(distribution: metadata.Distribution, entry_point: metadata.EntryPoint) -> str:
    """
    Return the SHA-256 of *distribution* as it is installed, in hex.

    Raises:
        OSError: a file of it cannot be read, or none was found.
    """
    files = dict(_recorded(distribution))
    # What an import would find counts, where RECORD means another file by that name.
    files.update(_in_package(entry_point))
    if not files:
        raise FileNotFoundError("none of its files was found")
    lines = [f"{_file_sha256(files[name])}  {name}\n" for name in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _recorded(distribution: metadata.Distribution) -> Iterator[tuple[str, Path]]:
    for file in distribution.files or ():
        folder = next((part for part in file.parts if part.endswith(".dist-info")), None)
        if "__pycache__" in file.parts or (folder is not None and file.name not in _KEPT_NOTES):
            continue
        yield PurePosixPath(*file.parts).as_posix(), Path(str(file.locate()))


def _in_package(entry_point: metadata.EntryPoint) -> Iterator[tuple[str, Path]]:
    try:
        # Of a module without a dot nothing is imported to find it.
        spec = find_spec(entry_point.module.partition(".")[0])
    except (AttributeError, ImportError, ValueError):
        return
    if spec is None:
        return
    if spec.submodule_search_locations is None:
        if spec.origin is not None:
            yield Path(spec.origin).name, Path(spec.origin)
        return
    for location in spec.submodule_search_locations:
        folder = Path(location)
        for file in folder.rglob("*"):
            if file.is_file() and "__pycache__" not in file.relative_to(folder).parts:
                yield file.relative_to(folder.parent).as_posix(), file


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
