import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[3]
WORK = """
import time
from inference.storage.worker_pool import worker_pool
if __name__ == "__main__":
    with worker_pool(2) as pool:
        print(*pool.map(abs, range(2)), *pool._processes, flush=True)
        time.sleep(600)
"""


def test_workers_of_a_killed_process_end_with_it(tmp_path):
    (tmp_path / "work.py").write_text(WORK)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "work.py")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        workers = process.stdout.readline().split()[2:]
        assert workers
        process.kill()
    until = time.monotonic() + 30
    while any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers):
        assert time.monotonic() < until
        time.sleep(0.05)
