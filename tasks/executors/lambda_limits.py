"""What Lambda grants an account, and how long a call that it refused waits; for those, too, who only foretell."""

ACCOUNT_CONCURRENCY = 1_000  # ranks in flight at most: an account's own limit, unless raised
MAX_PAYLOAD = 6 * 2**20  # bytes of a synchronous invocation's event, and of its reply (Lambda quotas)
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 20.0


def full_jitter(refusals: int, uniform: float) -> float:
    """Seconds to wait after so many refusals in a row: anything up to a bound that doubles, 0.2 s to 20 s.

    Args:
        refusals: 1 after the first.
        uniform: 0 to 1, drawn anew each time ("full jitter", AWS Architecture Blog, 2015), so that ranks that were
            refused together do not come back together.
    """
    return uniform * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0 ** min(refusals - 1, 30))
