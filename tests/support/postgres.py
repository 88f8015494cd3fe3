"""A PostgreSQL server of this machine's installation, for one test."""

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest


def _binaries():
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        pytest.skip("PostgreSQL is not installed here")
    return Path(on_path).parent


@contextmanager
def postgres(port, password):
    """A server on a port, with a database `prefect` of the user `prefect`; yields a function that runs one query.

    PostgreSQL refuses to run as root; then it runs as the system's user `postgres` or `nobody`.
    """
    binaries, user = _binaries(), None
    folder = Path(tempfile.mkdtemp(prefix="cosmic-postgres-"))
    if os.getuid() == 0:
        user = next(name for name in ("postgres", "nobody") if name in {entry.pw_name for entry in pwd.getpwall()})
        shutil.chown(folder, user)
    secret = folder / "password"
    secret.write_text(password)
    secret.chmod(0o644)
    options = {"check": True, "user": user, "cwd": folder, "stdout": subprocess.DEVNULL}
    words = ["--username", "prefect", "--auth", "scram-sha-256", "--pwfile", secret]
    subprocess.run([binaries / "initdb", "--pgdata", folder / "data", *words], **options)
    server = subprocess.Popen(
        [binaries / "postgres", "-D", folder / "data", "-p", str(port), "-k", folder, "-h", "127.0.0.1"],
        user=user,
        cwd=folder,
        stderr=subprocess.DEVNULL,
    )
    client = ["--host", "127.0.0.1", "--port", str(port), "--username", "prefect"]
    environment = os.environ | {"PGPASSWORD": password}

    def query(text):
        command = [binaries / "psql", *client, "--tuples-only", "--no-align", "--command", text, "prefect"]
        return subprocess.run(command, check=True, text=True, capture_output=True, env=environment).stdout.strip()

    try:
        while subprocess.run([binaries / "pg_isready", *client], stdout=subprocess.DEVNULL, check=False).returncode:
            assert server.poll() is None
        subprocess.run([binaries / "createdb", *client, "prefect"], check=True, env=environment)
        yield query
    finally:
        server.terminate()
        server.wait(timeout=60)
        shutil.rmtree(folder, ignore_errors=True)
