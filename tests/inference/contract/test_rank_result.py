import json

from inference.contract.rank_result import RankResult
from tests.support.wire_examples import RESULT


def test_from_wire_keeps_once_what_many_ranks_share():
    one, other = (RankResult.from_wire(json.loads(json.dumps(RESULT.to_wire()))) for _ in range(2))
    assert one == other == RESULT
    for name in ("result_path", "device", "engine", "precision", "model_sha256", "worker"):
        assert getattr(one, name) is getattr(other, name), name
