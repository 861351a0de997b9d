"""A PostgreSQL server of the tests' own."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a server that is started for these tests and ends with them."""
    pytest.importorskip("psycopg", reason="the driver of PostgreSQL is not installed")
    folders = sorted(map(str, Path("/usr/lib/postgresql").glob("*/bin")), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", ""), *folders])  # Debian links no server there
    initdb, pg_ctl = (shutil.which(name, path=path) for name in ("initdb", "pg_ctl"))
    if initdb is None or pg_ctl is None:
        pytest.skip("PostgreSQL is not installed (initdb, pg_ctl)")
    # The path of a socket may have no more than some hundred characters.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    user = None
    if os.name == "posix" and os.geteuid() == 0:  # which PostgreSQL refuses
        user = "nobody"
        shutil.chown(folder, user=user)

    def run(*command: str) -> None:
        subprocess.run(
            command, cwd=folder, user=user, check=True, stdout=subprocess.DEVNULL, timeout=60
        )

    data = str(folder / "data")
    try:
        run(initdb, "-D", data, "-A", "trust", "-U", "tester", "--no-sync")
        options = f"-c listen_addresses= -c fsync=off -k {folder}"
        run(pg_ctl, "-D", data, "-l", str(folder / "log"), "-w", "-o", options, "start")
        try:
            yield f"postgresql://tester@/postgres?host={folder}"
        finally:
            run(pg_ctl, "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
