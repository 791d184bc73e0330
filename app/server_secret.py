"""The server's secret: what the keys of a data directory are hashed under.

It comes from a setting, or lies in a file beside the control database that only its owner may read.
Whoever has the control database without it cannot even try keys.
"""

import os
import stat
from pathlib import Path

from app.clock import new_id, new_secret
from app.settings import PREFIX, Settings

FILE = "secret"
LEAST_CHARACTERS = 32
_BYTES = 32


def read(settings: Settings) -> bytes:
    """The secret; made at first use. Raises `ValueError`, which never repeats it."""
    if settings.secret is not None:
        where, text = f"{PREFIX}SECRET", settings.secret
    else:
        where, text = str(settings.data / FILE), _of_file(settings.data / FILE)
    if len(text) < LEAST_CHARACTERS:
        raise ValueError(f"{where}: a secret has at least {LEAST_CHARACTERS} characters")
    return text.encode("utf-8", "surrogateescape")


def _of_file(path: Path) -> str:
    """What the file says. Raises `ValueError` when others may read it too."""
    if not path.exists():
        _make(path)
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        raise ValueError(f"{path} may be read by others: chmod 600 it, or make new keys")
    return path.read_text(encoding="ascii").strip()


def _make(path: Path) -> None:
    """Write a new secret aside and link it to its place: of two who make one, one wins."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(new_id(FILE))
    file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, f"{new_secret(_BYTES).hex()}\n".encode())
        os.fsync(file)
    finally:
        os.close(file)
    try:
        path.hardlink_to(aside)
    except FileExistsError:
        pass  # the other one's is the secret now
    finally:
        aside.unlink()
