"""A real SLURM of one node, from Debian's packages: started by root, for the tests that submit jobs to it."""

import os
import shutil
import signal
import socket
import subprocess
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.prefect_command import wait_for

NEEDS = "SLURM cannot be started here: it needs root, and `apt-get install slurm-wlm munge`"
_CONF = """
ClusterName=cosmic
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
JobAcctGatherType=jobacct_gather/none
KillWait=5
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=4000 State=UNKNOWN
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def can_start():
    """Whether this machine has what a SLURM of one node needs."""
    return os.geteuid() == 0 and all(shutil.which(name) for name in ("slurmctld", "slurmd", "munged"))


@contextmanager
def one_node(folder):
    """Run SLURM while the block runs; `SLURM_CONF` names its configuration."""
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().split(".")[0]
    conf = folder / "slurm.conf"
    conf.write_text(_CONF.format(host=host, folder=folder, cores=os.cpu_count()))
    _start_munge()
    before = os.environ.get("SLURM_CONF")
    os.environ["SLURM_CONF"] = str(conf)
    try:
        for daemon in ("slurmctld", "slurmd"):
            subprocess.run([daemon, "-f", conf], check=True, timeout=60)
        wait_for(lambda: "idle" in queue("sinfo", "--noheader", "--format", "%T"), within_s=60)
        yield
    finally:
        with suppress(Exception):
            queue("scancel", "--user", "root")
        for daemon in ("slurmd", "slurmctld"):
            with suppress(OSError, ValueError):
                os.kill(int((folder / f"{daemon}.pid").read_text()), signal.SIGTERM)
        os.environ.pop("SLURM_CONF")
        if before is not None:
            os.environ["SLURM_CONF"] = before


def _start_munge():
    if subprocess.run(["munge", "-n"], stdin=subprocess.DEVNULL, capture_output=True).returncode == 0:
        return
    for place in ("/etc/munge", "/run/munge", "/var/log/munge", "/var/lib/munge"):
        Path(place).mkdir(parents=True, exist_ok=True)
        shutil.chown(place, "munge", "munge")
    if not Path("/etc/munge/munge.key").exists():
        subprocess.run(["mungekey", "-c", "-f"], check=True)
        shutil.chown("/etc/munge/munge.key", "munge", "munge")
    subprocess.run(["su", "-s", "/bin/sh", "munge", "-c", "munged"], check=True)


def queue(*command):
    """The output of one of SLURM's commands."""
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
