"""A PostgreSQL server in a folder of its own, where its programs are installed."""

import glob
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def server(password: str = "") -> Iterator[str]:
    """Start a server and yield the URL of its database; without a password it trusts everybody.

    The user is ``nas``; the URL does not have the password.
    """
    pytest.importorskip("psycopg2", reason="no driver: pip install psycopg2-binary")
    found = [*glob.glob("/usr/lib/postgresql/*/bin/initdb"), shutil.which("initdb")]
    if not found[0]:
        pytest.skip("no PostgreSQL server here: apt-get install postgresql")
    programs = Path(found[0]).parent
    # The server refuses to run as root.
    user = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    folder.chmod(0o777)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, options = folder / "data", f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -F"

    def call(program: str, *arguments: object) -> None:
        subprocess.run(
            [programs / program, *map(str, arguments)],
            check=True,
            cwd=folder,
            timeout=120,
            stdout=subprocess.DEVNULL,
            **user,
        )

    given = ["-A", "trust"]
    if password:
        (folder / "password").write_text(password)
        given = ["-A", "scram-sha-256", "--pwfile", folder / "password"]
    call("initdb", "-D", data, "-U", "nas", "--no-sync", *given)
    call("pg_ctl", "-D", data, "-w", "-o", options, "-l", folder / "log", "start")
    try:
        yield f"postgresql+psycopg2://nas@127.0.0.1:{port}/postgres"
    finally:
        call("pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)
