"""What Lambda says when a function runs out of time or memory."""

TIME_OUT, NO_MEMORY = "time-out", "no memory"


HINTS = {
    TIME_OUT: "use smaller partitions, or deploy with a longer --timeout",
    NO_MEMORY: "use smaller partitions or batches, or deploy with more --memory",
}


_SIGNS = {
    TIME_OUT: ("Task timed out", "Sandbox.Timedout"),
    NO_MEMORY: ("Runtime.OutOfMemory", "signal: killed", "MemoryError"),
}


def failure_kind(kind: str, message: str) -> str | None:
    """TIME_OUT or NO_MEMORY where Lambda's own words, the error's type and message, tell of it; else None."""
    return next((ill for ill, signs in _SIGNS.items() if any(sign in f"{kind} {message}" for sign in signs)), None)
