"""Streams of random numbers, each a function of a seed and of names only.

A stream is never advanced by another one, by the batch size, by the number of workers or by what
was computed before: a resumed or replayed run draws exactly what an uninterrupted one draws.
"""

import hashlib

import torch


def derive(seed: int, *names: str | int) -> int:
    """Seed of the stream that `names` single out under `seed`.

    Args:
        seed: any integer.
        names: what the numbers are for, from general to particular: "data_order", epoch.

    Returns:
        An integer in [0, 2**63), different for different arguments.
    """
    text = repr((seed, *names)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator at the start of the stream that `names` single out under `seed`."""
    return torch.Generator().manual_seed(derive(seed, *names))


def start_stream(device: torch.device, seed: int, *names: str | int) -> None:
    """Seed torch's global generator of a device, which dropout draws from, with a named stream.

    Unlike `torch.manual_seed` it leaves other devices alone, and without a GPU takes a hundredth
    of the time: it can be called at every step.
    """
    torch.default_generator.manual_seed(derive(seed, *names))
    if device.type == "cuda":
        with torch.cuda.device(device):  # else the seed would go to the current one
            torch.cuda.manual_seed(derive(seed, *names))
    elif device.type == "mps":
        torch.mps.manual_seed(derive(seed, *names))
