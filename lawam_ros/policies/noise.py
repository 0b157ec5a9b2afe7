"""The seed of a chunk's noise."""

import hashlib


def noise_seed(run_seed: int, stamp_ns: int) -> int:
    """Seed of one chunk's noise: a hash of the run's seed and the observation's stamp, so that neighbouring stamps have unrelated noise."""
    return int.from_bytes(hashlib.blake2b(f"{run_seed}/{stamp_ns}".encode(), digest_size=4).digest(), "little")
