"""Loads rules through the nft program: they cannot be written by hand in any other way that people can read."""

import errno
import subprocess

from nodeagent.gate.plan import KernelRefused, Unsupported

_TIMEOUT = 10.0  # seconds; it takes 20 ms
_WORDS = 300  # of what it says of an error; it also quotes the text, which may be a megabyte


def load(text: str, *options: str) -> None:
    """Have nft load *text* in one transaction. Raises KernelRefused in nft's own words, and Unsupported without it."""
    try:
        done = subprocess.run(
            ["nft", *options, "-f", "-"], input=text, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except FileNotFoundError as error:
        raise Unsupported("the program nft is missing: install the package nftables") from error
    except subprocess.TimeoutExpired as error:
        raise KernelRefused(errno.ETIMEDOUT, "nft") from error
    if done.returncode:
        said = "; ".join(line[:_WORDS] for line in done.stderr.splitlines() if "rror:" in line)
        raise KernelRefused(errno.EINVAL, f"nft could not load the gate: {said[:_WORDS]}")


def refusal(text: str) -> str:
    """Why nft and the kernel would not load *text*; "" if they would. Leaves nothing."""
    try:
        load(text, "--check")
    except KernelRefused as refused:
        return str(refused)
    return ""
