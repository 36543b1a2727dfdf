"""Seeds as hashes of their keys, for every generator there is: torch's, NumPy's, scikit-learn's."""

import hashlib

_MASK_63 = (1 << 63) - 1


def hashed_seed(seed: int, stream: str, step: int = 0, index: int = 0) -> int:
    """A 63-bit seed from the key (seed, stream, step, index), by SHA-256.

    Hashed and never added: seed + step·world + rank lets neighbouring seeds replay each other's streams, and a CPU
    `torch.Generator` uses only the low 32 bits of what it is given. scikit-learn takes `hashed_seed(...) % 2**32`.
    """
    key = f"{seed}/{stream}/{step}/{index}".encode()
    return int.from_bytes(hashlib.sha256(key).digest()[:8], "little") & _MASK_63
