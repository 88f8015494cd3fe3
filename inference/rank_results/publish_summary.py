"""A run's summaries become the ones that count in one step, and only while the run holds the lease on its result path.

Every run writes its summaries into a folder of its own generation, `<result_path>/.cosmic/<generation>/`, where no
other run reads or writes. One conditional write to the lease then commits the generation. The customary names, such as
`<result_path>/summary.json`, are copies for people and for older programs; whoever writes them looks afterwards whether
the generation committed is still the same, and otherwise copies again. A run that lost its lease cannot commit, and a
copy that it still had on the way is replaced (docs/decisions/0015).
"""

from dataclasses import replace

from inference.contract.object_keys import RESERVED
from inference.storage.lease import HeldLease, Lease
from inference.storage.store import Store

LEASES = ".cosmic/leases"
AFTER_FAILURE_S = 60.0
INVOCATIONS = "invocations.json"  # this and the next two are what the bill is made from
EXECUTIONS = "executions.json"
KILLED = "killed.json"
BILLED = (INVOCATIONS, EXECUTIONS, KILLED)  # kept when a run starts over: what was called before stays on the bill
SUMMARIES = (
    "combined_data.json",
    "combined_data.partial.json",
    "predictions.parquet",
    "predictions.partial.parquet",
    "report.html",
    "summary.json",
)


def run_lease(store: Store, bucket: str, result_path: str, run_id: str) -> Lease:
    """The lease on a result path, for the run of this name."""
    return Lease(store, bucket, f"{LEASES}/{result_path}", run_id, f"{bucket}/{result_path}")


def root_lease(store: Store, bucket: str, run_id: str) -> Lease:
    """The lease on a bucket's root, where payload.json has one fixed key."""
    return Lease(store, bucket, ".cosmic/root", run_id, f"payload.json at the root of bucket {bucket}")


def end_soon(store: Store, bucket: str, result_path: str) -> None:
    """A rank has failed: whoever holds the leases and renews none has them for a minute more at most.

    An execution of the replaced system's machine ends with its first failed rank, and calls nobody who could release
    them. This project's calls the summary, which takes them itself where they have ended.

    Raises:
        StoreError: the store refuses.
    """
    holder = None
    for lease in (run_lease(store, bucket, result_path, ""), root_lease(store, bucket, "")):
        last = lease.newest()
        if last is None or last.process or holder not in (None, last.holder):
            return
        holder = last.holder
        if lease.seconds_left(last) > AFTER_FAILURE_S:
            lease.append(replace(last, seconds=AFTER_FAILURE_S))


def generation_folder(result_path: str, generation: int) -> str:
    """The folder in which the run of this generation writes its summaries."""
    return f"{result_path}/{RESERVED}/{generation:08d}"


def journal_prefix(result_path: str) -> str:
    """Where runs write down what they call while they run (`tasks.invocations.journal`)."""
    return f"{result_path}/{RESERVED}/journal"


def committed_folder(store: Store, bucket: str, result_path: str) -> str:
    """The folder whose summaries count.

    Returns:
        The folder of the generation committed last; the result path itself where none was, as for results of an older
        version or in a folder that was copied from elsewhere.

    Raises:
        StoreError: the store refuses.
    """
    last = run_lease(store, bucket, result_path, "").newest()
    if last is not None and last.committed:
        folder = generation_folder(result_path, last.committed)
        if store.list(bucket, folder):
            return folder
    return result_path


def summary_key(store: Store, bucket: str, result_path: str) -> str:
    """Key of the summary that counts; `<result_path>/summary.json` is a copy, which a stale run can still replace.

    Raises:
        StoreError: the store refuses.
    """
    return f"{committed_folder(store, bucket, result_path)}/summary.json"


def publish_summary(held: HeldLease, result_path: str) -> None:
    """Make the summaries of the holder's generation the ones that count, under the customary names too.

    Raises:
        LeaseHeldError: another run took the result path over; nothing was changed.
        StoreError: the store refuses.
    """
    held.commit()
    _copy_committed(held, result_path)


def withdraw(held: HeldLease, result_path: str) -> None:
    """Remove the summaries of earlier runs, because their results are about to change.

    Raises:
        LeaseHeldError: another run took the result path over; nothing was changed.
        StoreError: the store refuses.
    """
    held.commit(0)
    _copy_committed(held, result_path)


def _copy_committed(held: HeldLease, result_path: str) -> None:
    """Make the customary names what the committed generation holds, until it is the same before and after."""
    store, bucket = held.lease.store, held.lease.bucket
    committed = None
    while (now := _committed(held.lease)) != committed:
        committed = now
        folder = generation_folder(result_path, committed)
        there = {stored.key.removeprefix(f"{folder}/") for stored in store.list(bucket, folder)} if committed else set()
        copied = {
            name
            for name in (*BILLED, *SUMMARIES)
            if name in there and store.copy(bucket, f"{folder}/{name}", f"{result_path}/{name}")
        }
        store.delete(bucket, [f"{result_path}/{name}" for name in SUMMARIES if name not in copied])
    _remove_generations(held, result_path, committed or 0)


def _committed(lease: Lease) -> int:
    last = lease.newest()
    return last.committed if last is not None else 0


def _remove_generations(held: HeldLease, result_path: str, committed: int) -> None:
    """Remove what runs before this one wrote into folders of their own, and nothing by any other name."""
    kept = {committed, held.generation}
    store, bucket = held.lease.store, held.lease.bucket
    prefix = f"{result_path}/{RESERVED}"
    gone = []
    for stored in store.list(bucket, prefix):
        number, _, name = stored.key.removeprefix(f"{prefix}/").partition("/")
        is_ours = number.isdecimal() and number.isascii() and name in (*BILLED, *SUMMARIES)
        if is_ours and int(number) < held.generation and int(number) not in kept:
            gone.append(stored.key)
    store.delete(bucket, gone)
