"""A public link through Gradio's tunnel."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)


def open_tunnel(port: int, token: str) -> str:
    """The public address of the server on this port. Raises RuntimeError, with the reason in plain words."""
    import httpx
    from gradio.exceptions import ChecksumMismatchError, ShareCertificateWriteError
    from gradio.networking import setup_tunnel

    expected = (RuntimeError, OSError, ValueError, httpx.HTTPError, ChecksumMismatchError, ShareCertificateWriteError)
    try:
        return str(setup_tunnel("127.0.0.1", port, token, None, None))
    except expected as error:
        log.info("no tunnel", exc_info=True)
        causes = [str(part).splitlines()[0].rstrip(".") for part in (error, error.__cause__) if part and str(part)]
        raise RuntimeError(": ".join(causes) or type(error).__name__) from error
