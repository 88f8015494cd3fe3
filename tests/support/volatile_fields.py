"""What in a run's document is measured or says how the run went, and not what came out: it differs from run to run."""

OF_A_RUN = {
    *("run_id", "created", "store", "report", "workers", "execution", "notes", "backups"),
    *("ranks_resumed", "cold_ranks", "dispatched_at", "prediction", "makespan_s", "end_to_end_s", "cost", "costs"),
    *("samples_per_s", "throughput_bps", "throughput_bps_sum_of_ranks"),
}
OF_A_RANK = ("wall_", "cpu_", "peak_", "idle_", "store_", "samples_per_s", "started_at", "ended_at", "billed_s")
HOW_IT_RAN = {"cold", "worker", "resumed", "attempt", "memory_limit_mb"}


def without_measurements(document):
    """The document's part that an undisturbed run has, too."""
    kept = {name: value for name, value in document.items() if name not in OF_A_RUN}
    kept["ranks"] = [
        {name: value for name, value in row.items() if not name.startswith(OF_A_RANK) and name not in HOW_IT_RAN}
        for row in document["ranks"]
    ]
    return kept
