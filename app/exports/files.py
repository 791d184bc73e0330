"""Where an export goes: a file that is there when it is whole, and not before."""

import os
from collections.abc import Iterable
from pathlib import Path


def write(parts: Iterable[bytes], path: Path) -> None:
    """Write a file beside its place, flush it, and put it there; a failure leaves nothing."""
    aside = path.with_name(f"{path.name}.part")
    try:
        with aside.open("wb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
