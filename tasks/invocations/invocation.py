"""One call of the handler."""

from dataclasses import dataclass

from inference.contract.rank_result import RankResult

MEASURED = "measured here, an estimate"
REPORTED = "REPORT line"  # how a billed time is known: AWS reported it
EMULATED = "REPORT line of the emulator, an estimate"
STILL_RUNNING = "still running when the run ended: at least, an estimate"


@dataclass(frozen=True, kw_only=True, slots=True)
class Invocation:
    """One call of the handler: one line of the bill, whether it succeeded or not.

    Attributes:
        started_at, ended_at: seconds since the epoch by the caller's clock: the call was sent, the reply (or the
            failure) arrived.
        duration_s: seconds in the handler.
        init_s: seconds of start-up before it, 0 when warm.
        billed_s: seconds that AWS bills for.
        billed_how: how `billed_s` is known: REPORTED, EMULATED, or what it is an estimate from.
        memory_mb: allocated (or, locally, asked for in the request), in MB of 1,048,576 bytes, as Lambda counts.
        max_memory_mb: used at most, in the same unit; 0 if not known.
        cold: a new process served this call.
        worker: the process that served it.
        result: what the handler returned, None when it failed.
        error: why it failed, in one sentence; None when it did not fail.
        retryable: another attempt may help.
        backup: it was a second copy of a rank that was late.
    """

    rank: int
    attempt: int
    started_at: float
    ended_at: float
    duration_s: float
    init_s: float = 0.0
    billed_s: float
    billed_how: str = MEASURED
    memory_mb: int
    max_memory_mb: float = 0.0
    cold: bool = False
    request_id: str = ""
    worker: str = ""
    result: RankResult | None = None
    error: str | None = None
    retryable: bool = True
    backup: bool = False

    @property
    def is_reported(self) -> bool:
        """Whether AWS itself reported the billed time."""
        return self.billed_how == REPORTED

    @property
    def is_emulated(self) -> bool:
        """Whether the AWS emulator reported the billed time."""
        return self.billed_how == EMULATED
