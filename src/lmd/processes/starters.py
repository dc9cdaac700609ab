"""Which of several processes this is, by the environment variables of whoever started them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from lmd.errors import SettingsError

# What the starters of several processes set: torchrun, srun (for a step, not for the batch job), mpirun.
_PROCESSES = ("WORLD_SIZE", "SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
# What `lmd train --devices` tells the processes that it starts; they are told apart by torchrun's variables.
LAUNCHED = "LMD_LAUNCHED"
# torchrun's names of a process's place, and srun's.
_TORCH = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
_SLURM = ("SLURM_PROCID", "SLURM_LOCALID")
_FIRST_PORT = 15000  # Of SLURM's jobs: this, plus the last four digits of the job's number.


@dataclass(frozen=True)
class Place:
    """The place of a process among those that train together."""

    rank: int = 0
    """its number, from 0"""
    world: int = 1
    """how many there are"""
    local: int = 0
    """its number on its machine"""
    address: str = "127.0.0.1"
    """the machine of the first process"""
    port: int = 0
    """where the first process listens"""

    @property
    def leads(self) -> bool:
        """Whether this process writes and speaks for all."""
        return self.rank == 0


ALONE = Place()


def place() -> Place:
    """Returns this process's place: alone, unless torchrun, srun or `lmd train --devices` started several.

    Raises:
        SettingsError: several were started in a way that does not tell each its place.
    """
    name, world = _several()
    if name == "WORLD_SIZE":
        _check_told(name, world, _TORCH)
        rank, local, address, port = (os.environ[known] for known in _TORCH)
        return Place(int(rank), world, int(local), address, int(port))
    if name == "SLURM_STEP_NUM_TASKS":
        _check_told(name, world, _SLURM)
        rank, local = (int(os.environ[known]) for known in _SLURM)
        return Place(rank, world, local, _slurm_address(), _slurm_port())
    if name:
        raise SettingsError(
            f"{name} = {world}: lmd does not train under mpirun; start the processes with torchrun, with "
            f"srun, or with 'lmd train --devices {world}', or unset {name} where this is the only one"
        )
    return ALONE


def refuse_several_processes() -> None:
    """Refuses to work as one of several processes that were started to do the same thing.

    Raises:
        SettingsError: there are several.
    """
    name, number = _several()
    if name:
        raise SettingsError(
            f"{name} = {number}: of lmd's verbs 'train' alone works on several processes; start one process "
            f"(srun --ntasks=1, no torchrun or mpirun), or unset {name} where this is the only one"
        )


def _several() -> tuple[str, int]:
    """The variable that tells of several processes, and their number; an empty name where there is one.

    A SLURM batch job that asked for several tasks runs its script once: that is one process. In an
    interactive job (`srun --pty bash`) a person at a terminal starts this process, whatever the step asked
    for. A script of several tasks (`srun -n 4 bash job.sh`) has the same name and no terminal.
    """
    by_hand = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive") and os.isatty(0)
    for name in _PROCESSES:
        number = os.environ.get(name, "")
        if number.isdecimal() and int(number) > 1 and not (by_hand and name.startswith("SLURM")):
            return name, int(number)
    return "", 1


def _check_told(name: str, world: int, needed: tuple[str, ...]) -> None:
    """Refuses a world whose processes do not know their places."""
    missing = [known for known in needed if not os.environ.get(known)]
    if missing:
        raise SettingsError(
            f"{name} = {world}, and {missing[0]} is not set: start several processes with torchrun, with "
            f"srun, or with 'lmd train --devices {world}', or unset {name} where this is the only one"
        )
    for known in needed:
        if known not in ("MASTER_ADDR",) and not os.environ[known].isdecimal():
            raise SettingsError(f"{known} = '{os.environ[known]}' must be a whole number from 0")


def _slurm_address() -> str:
    """The first machine of a step: 'n[03-05,9]' and 'n03,n05' begin with n03."""
    given = os.environ.get("MASTER_ADDR")
    nodes = os.environ.get("SLURM_STEP_NODELIST") or os.environ.get("SLURM_NODELIST", "127.0.0.1")
    return given or re.sub(r"\[(\w+)[^\]]*\]", r"\1", nodes).split(",")[0].strip()


def _slurm_port() -> int:
    """The port that every process of a job knows: MASTER_PORT, or one made of the job's number."""
    given, job = os.environ.get("MASTER_PORT", ""), os.environ.get("SLURM_JOB_ID", "0")
    return int(given) if given.isdecimal() else _FIRST_PORT + int(job[-4:] if job.isdecimal() else 0)


def machine(nodes: int) -> tuple[int, str, int]:
    """Returns which of several machines this is, and where the first process listens.

    Raises:
        SettingsError: the environment does not say so.
    """
    names = ("NODE_RANK", "MASTER_ADDR", "MASTER_PORT")
    rank, address, port = (os.environ.get(name, "") for name in names)
    if not (rank.isdecimal() and address and port.isdecimal() and int(rank) < nodes):
        raise SettingsError(
            f"--nodes {nodes}: set NODE_RANK (from 0), MASTER_ADDR and MASTER_PORT on each machine, "
            "or start with torchrun or srun"
        )
    return int(rank), address, int(port)
