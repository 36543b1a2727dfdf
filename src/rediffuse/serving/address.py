"""Where a server listens, and whether others than this machine can reach it there."""

import errno
import ipaddress
import socket
from contextlib import suppress

from rediffuse.errors import UserError


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach the address, or each that the name has."""
    return all(ipaddress.ip_address(address).is_loopback for address in _addresses(host))


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Args:
        port: 0: any that is free.

    Raises:
        UserError: the port is in use, not allowed, or the address is none of this machine's.
    """
    address = _addresses(host)[0]
    listening = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        # Or the port of a server that has just ended is in use for a minute more.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((address, port))
        listening.listen()
    except OSError as error:
        listening.close()
        if error.errno == errno.EADDRINUSE:
            raise UserError(f"--port: {port} is in use at {host}; choose another, or 0 for any that is free") from None
        raise UserError(f"--host, --port: {host} port {port} can't be listened on: {error.strerror}") from None
    return listening


def url_of(host: str, listening: socket.socket) -> str:
    """By which a browser on this machine reaches it."""
    name = f"[{host}]" if ":" in host else host
    with suppress(ValueError):
        # 0.0.0.0 and :: are every address, and none to go to.
        if ipaddress.ip_address(host).is_unspecified:
            name = "[::1]" if ":" in host else "127.0.0.1"
    return f"http://{name}:{listening.getsockname()[1]}"


def _addresses(host: str) -> list[str]:
    # An empty name would be every address.
    try:
        found = socket.getaddrinfo(host or "0.0.0.0", None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise UserError(f"--host: {host!r} is no address of this machine's") from None
    return [str(address[0]).partition("%")[0] for *_, address in found]
