"""Where one shard ends and the next begins: a function of the rows' ids, so that a new row moves few of the ends."""

from hashlib import blake2b


class Boundaries:
    """Where shards end, by the rows' ids: after a row whose hash is below a threshold.

    No shard is shorter than a quarter of `shard_rows` or longer than four times it. In between, each row ends its shard
    with the same probability, such that the expected length is `shard_rows` (0.5 % less, for the upper bound).
    """

    def __init__(self, shard_rows: int) -> None:
        self._least, self._most = -(-shard_rows // 4), 4 * shard_rows
        self._below = 2**64 // (shard_rows - self._least + 1)
        self._rows = 0

    def ends_after(self, digest: bytes) -> bool:
        """Whether the shard ends after the next row, whose id has this digest of 8 bytes or more."""
        self._rows += 1
        ends = self._rows == self._most or (
            self._rows >= self._least and int.from_bytes(digest[:8], "little") < self._below
        )
        if ends:
            self._rows = 0
        return ends


def id_digest(row_id: str) -> bytes:
    """16 bytes that stand for a row's id."""
    return blake2b(row_id.encode(), digest_size=16).digest()
