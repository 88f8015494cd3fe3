"""A simulated run without a clock: all ranks start at once and last as long as given, with or without backups."""

import bisect
import heapq
import math
import random

from tasks.dispatch.hedging import backups

STEP_S = 0.05  # between two looks


def stragglers(ranks, seed, share=0.04):
    """Times of ranks with the shape of the published ones: most within 10 % of 6 s, a few 2 to 4 times as long."""
    rng = random.Random(seed)
    return [6 * (rng.uniform(2, 4) if rng.random() < share else rng.lognormvariate(0, 0.05)) for _ in range(ranks)]


def replayed(times, seed, hedge=True):
    """(makespan, seconds billed, backups made); a backup takes as long as some rank of the same run."""
    rng = random.Random(seed)
    ends = [(seconds, rank, 0.0) for rank, seconds in enumerate(times)]
    heapq.heapify(ends)
    running, took, billed, made, makespan, now = dict.fromkeys(range(len(times))), [], 0.0, 0, 0.0, 0.0
    hedged = set()
    while ends:
        if hedge and running:
            waiting = {rank: now for rank in running if rank not in hedged}
            for rank, copies in backups(len(times), took, waiting, made).items():
                hedged.add(rank)
                made += copies
                for _ in range(copies):
                    heapq.heappush(ends, (now + rng.choice(times), rank, now))
        now = math.inf if not running else now + STEP_S
        while ends and ends[0][0] <= now:
            end, rank, began = heapq.heappop(ends)
            billed += end - began
            if rank in running:
                del running[rank]
                bisect.insort(took, end - began)
                makespan = end
    return makespan, billed, made
