"""Corrupted and hostile documents, made from valid ones, for the tests of every reader of the project."""

import copy
import json
import random
import string
import tracemalloc
from collections.abc import Callable

NUMBERS = (
    *(0, -1, 1, 2**31, 2**63, 10**18, 10**30, 10**400, -(10**400), 0.5, -0.5, 1e300, -1e300, 1e-320),
    *(float("nan"), float("inf"), float("-inf")),
)
TEXTS = (
    *("", " ", "\0", "..", "../../etc/passwd", "/etc/passwd", "a\\b", "a\nb", "\x1b[2J\x07", "\ud800", "\u202e"),
    *("<script>alert(1)</script>", "[/red]", "[bold", "$x^$", "| a `b` [c](javascript:d)", "=cmd()", "%s{0}"),
    *("9" * 30, "1e999", "NaN", "٣", "x" * 5000, "a/" * 2000, "1" * 10_000),
)
DEEP = "stands for a deep list"
VALUES = (
    *(DEEP, DEEP, None, True, False, *NUMBERS, *TEXTS),
    *([], {}, [[]], [None], {"": None}, ["a"] * 300, {"a": {"a": {"a": 1}}}),
)


def corrupted(document: object, rng: random.Random) -> object:
    """The document with one to three of its parts replaced, removed, repeated or renamed."""
    changed = json.loads(json.dumps(document))
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        places = list(_places(changed))
        if not places:
            return rng.choice(VALUES)
        inside, key = rng.choice(places)
        match rng.choice(("replace", "replace", "replace", "remove", "repeat", "rename")):
            case "replace":
                inside[key] = copy.deepcopy(rng.choice(VALUES))
            case "remove":
                del inside[key]
            case "repeat" if isinstance(inside, list):
                inside.append(copy.deepcopy(inside[key]))
            case _ if isinstance(inside, dict):
                inside[rng.choice(TEXTS)] = inside.pop(key)
    return rng.choice((*([changed] * 20), [changed], {"a": changed}, None))


def _places(document):
    if isinstance(document, dict | list):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield document, key
            yield from _places(value)


def corrupted_bytes(data: bytes, rng: random.Random) -> bytes:
    """The bytes with some flipped, cut off, cut out, put in or doubled."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        place = rng.randrange(len(changed) + 1)
        match rng.choice(("flip", "flip", "flip", "cut", "out", "in", "double", "number")):
            case "flip" if place < len(changed):
                changed[place] ^= 1 << rng.randrange(8)
            case "cut":
                del changed[place:]
            case "out":
                del changed[place : place + rng.randrange(1, 40)]
            case "in":
                changed[place:place] = rng.randbytes(rng.randrange(1, 12))
            case "double":
                changed[place:place] = changed[place : place + rng.randrange(1, 200)]
            case "number":
                changed[place : place + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f"))
    return bytes(changed)


def corrupted_json(document: object, rng: random.Random) -> bytes:
    """The document as JSON, corrupted in its content or in its text."""
    match rng.randrange(10):
        case 0:
            return corrupted_bytes(json.dumps(document).encode(), rng)
        case 1:
            deep = rng.choice((b"[", b'{"a":')) * rng.choice((500, 100_000))
            return rng.choice((deep, b"[" + deep, json.dumps(document).encode() + deep))
        case _:
            depth = rng.choice((10, 100, 900, 970, 985))  # as deep as Python still reads
            return json.dumps(corrupted(document, rng)).replace(f'"{DEEP}"', "[" * depth + "]" * depth).encode()


def corrupted_text(text: str, rng: random.Random) -> str:
    """The text with pieces put in, left out or repeated many times."""
    place, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    piece = rng.choice((*TEXTS, text[place:end], rng.choice(string.printable), "REPORT RequestId: ", " ms", "1."))
    return text[:place] + piece * rng.choice((1, 1, 2, 1000)) + text[rng.choice((place, end)) :]


CLAIMS_OF_GIGABYTES = {
    "memo": b"\x80\x02Nr\xff\xff\xff\x0f.",
    "bytearray": b"\x80\x05\x96\x00\x00\x00\x00\x10\x00\x00\x00.",
    "text": b"\x80\x05\x8d\x00\x00\x00\x00\x10\x00\x00\x00.",
    "integer": b"\x80\x02\x8b\xff\xff\xff\x7f.",
    "too few values": b"\x80\x02N" + b"\x86" * 1000 + b".",
}
"""Pickle programs of a few bytes that ask their reader for gigabytes."""


def peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that Python held while `work()` ran, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
