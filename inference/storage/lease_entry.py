"""An entry of a lease, as it is stored: who has it, for how long, and which generation's results count."""

import json
import uuid
from dataclasses import asdict, dataclass, fields

from inference.contract.json_text import parse_json
from inference.contract.validation import is_number
from inference.errors import BadInput

_LONGEST_S = 366 * 86_400.0


@dataclass(frozen=True)
class Entry:
    """One numbered entry of a lease.

    Attributes:
        number: of the entry; the highest counts.
        holder: who has the lease.
        seconds: how long it is the holder's after the entry was written, unless renewed; 0 where it was released.
        generation: of the holder.
        committed: the generation whose results count, 0 for none.
        host: machine and process number, for messages.
        process: identity of the process that renews the entry; "" where nobody does.
        written_at: by the store's clock, in seconds since the epoch.
    """

    number: int
    holder: str = ""
    seconds: float = 0.0
    generation: int = 0
    committed: int = 0
    host: str = ""
    process: str = ""
    written_at: float = 0.0

    @classmethod
    def parse(cls, number: int, data: bytes, written_at: float) -> "Entry":
        """Read an entry; a damaged one has no holder, and counts as released."""
        try:
            document = parse_json(data, "the lease")
        except BadInput:
            document = None
        document = document if isinstance(document, dict) else {}
        found = {field.name: document.get(field.name, field.default) for field in fields(cls)[1:-1]}
        texts = all(isinstance(found[name], str) for name in ("holder", "host", "process"))
        tokens = all(type(found[name]) is int and 0 <= found[name] < 10**9 for name in ("generation", "committed"))
        if not (texts and tokens and is_number(found["seconds"], -_LONGEST_S, _LONGEST_S)):
            return cls(number, written_at=written_at)
        return cls(number, **found, written_at=written_at)

    def to_json(self) -> bytes:
        """The entry as it is stored; a random token tells two equal ones apart."""
        kept = {name: value for name, value in asdict(self).items() if name not in {"number", "written_at"}}
        return json.dumps(kept | {"token": uuid.uuid4().hex}).encode()
