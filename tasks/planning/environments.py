"""Environments that earlier runs left warm: which there are, and how likely a next run finds them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean
from typing import Any, NamedTuple

from inference.contract.counted import counted
from tasks.executors.select import ON_AWS
from tasks.planning.history import PastRun

KEPT_S, GONE_S = 300.0, 2_700.0  # AWS keeps idle environments for 5 to 45 minutes; a guess, AWS publishes no figure
OF_A_FUNCTION = ("function", "modified", "memory")  # that must not have changed
OF_A_MODEL = ("model", "engine", "precision")  # or a warm environment loads its model again


class Left(NamedTuple):
    """An environment of an earlier run: seconds since its last rank, and whether it holds the planned model."""

    idle_s: float
    loaded: bool


class Break(NamedTuple):
    """What a run found of the environments before it: seconds they had been idle, and which share was still there."""

    idle_s: float
    warm: float


@dataclass(frozen=True)
class Environments:
    """What a planned run finds warm.

    Attributes:
        left: environments that earlier runs left, each with the chance that it is still there.
    """

    left: tuple[tuple[float, Left], ...] = ()

    def draw(self, random: Random) -> list[bool]:
        """Those that are still there, the last used at the end; each says whether it holds the model.

        Idle environments are given up together, the longest idle first: one draw decides for all.
        """
        luck = random.random()
        return [each.loaded for chance, each in self.left if luck < chance]

    @property
    def sentence(self) -> str | None:
        """What was assumed; None where nothing could be warm."""
        if not self.left:
            return None
        idle = min(each.idle_s for _, each in self.left)
        cold = 1.0 - fmean(chance for chance, _ in self.left)
        left = counted(len(self.left), "environment")
        return f"{left} of earlier runs, idle for {idle:,.0f} s, assumed to be gone with P(cold) = {cold:.2f}"


NONE = Environments()


def environments(runs: Sequence[PastRun], wanted: Mapping[str, Any], now: float) -> Environments:
    """What a run that begins now finds warm.

    Args:
        runs: earlier ones, of any kind.
        wanted: the planned run's kind (`PastRun.kind`).
        now: seconds since the epoch.
    """
    of_function = sorted((run for run in runs if _same(run, wanted, OF_A_FUNCTION)), key=lambda run: run.began_at)
    there, breaks = _followed(of_function, wanted)
    prior = chance_kept if wanted.get("executor") in ON_AWS else _never
    idle = (Left(max(now - ended_at, 0.0), loaded) for ended_at, loaded in there.values())
    left = ((chance(each.idle_s, breaks, prior(each.idle_s)), each) for each in idle)
    return Environments(tuple(sorted((pair for pair in left if pair[0] > 0), key=lambda pair: -pair[1].idle_s)))


def chance_kept(idle_s: float) -> float:
    """The chance that AWS has kept an environment that has been idle for so long.

    >>> chance_kept(60.0), round(chance_kept(900.0), 2), chance_kept(3600.0)
    (1.0, 0.5, 0.0)
    """
    share = math.log(GONE_S / max(idle_s, 1e-9)) / math.log(GONE_S / KEPT_S)
    return min(max(share, 0.0), 1.0)


def _never(_: float) -> float:
    """Processes of this machine end with their run."""
    return 0.0


def chance(idle_s: float, breaks: Sequence[Break], prior: float) -> float:
    """The chance that an environment is still there, by what earlier breaks tell; the prior counts as one of them.

    What survived a longer break would have survived this one; what did not survive a shorter one would not have.

    >>> chance(100.0, [Break(200.0, 1.0), Break(50.0, 1.0)], 0.5)
    0.75
    >>> chance(100.0, [Break(50.0, 0.0), Break(200.0, 0.0)], 1.0)
    0.5
    """
    warm = math.fsum(each.warm for each in breaks if each.idle_s >= idle_s)
    cold = math.fsum(1.0 - each.warm for each in breaks if each.idle_s <= idle_s)
    return (prior + warm) / (1.0 + warm + cold)


def _followed(runs: Sequence[PastRun], wanted: Mapping[str, Any]) -> tuple[dict[str, tuple[float, bool]], list[Break]]:
    """Environments by name, each with its last end and whether it holds the model; and what every break did to them."""
    there: dict[str, tuple[float, bool]] = {}
    breaks = []
    for run in runs:
        used = {rank.worker for rank in run.ranks if rank.worker}
        fresh = len({rank.worker for rank in run.ranks if rank.cold})
        found = [run.began_at - there[name][0] for name in used & there.keys()]
        idle = [name for name in there.keys() - used if there[name][0] <= run.began_at]  # not busy with another run
        unseen = sorted(idle, key=lambda name: there[name][0])
        gone = unseen[:fresh]  # a cold start where an environment was idle: that one is gone, the longest idle first
        lost = [run.began_at - there[name][0] for name in gone]
        if found or lost:
            breaks.append(Break(fmean([*found, *lost]), len(found) / len([*found, *lost])))
        for name in gone:
            del there[name]
        same = _same(run, wanted, OF_A_MODEL)
        for rank in run.ranks:
            before = there.get(rank.worker, (0.0, False))
            if rank.worker:
                there[rank.worker] = (max(before[0], rank.ended_at), same or before[1])
    return there, breaks


def _same(run: PastRun, wanted: Mapping[str, Any], names: Sequence[str]) -> bool:
    kind = run.kind
    return all(None in (wanted.get(name), kind.get(name)) or wanted[name] == kind[name] for name in names)
