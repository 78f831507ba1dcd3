"""JSON in which no name occurs twice: of two values a reader would take either."""

import json
from collections import Counter
from typing import Any

from converters.errors import CheckpointError


def decode_json(data: bytes, complaint: str) -> Any:
    """The value of a JSON text in UTF-8.

    Raises:
        CheckpointError: it is not JSON, or a name occurs twice; the message starts with the complaint.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        fields = dict(pairs)
        if len(fields) < len(pairs):
            twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise CheckpointError(f"{complaint}: {twice[:80]!r} occurs twice")
        return fields

    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{complaint}: {str(error)[:200]}") from error
