"""Secrets and tokens have no place in a log. Looks for them in what tests and gateways have written."""

from __future__ import annotations

import re

FORBIDDEN = {
    "a token": re.compile(r"eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"),
    "the API secret of the HTTP tests": re.compile(r"site-secret-of-more-than-32-bytes-length"),
    "the secret of the site's login": re.compile(r"a-secret-of-the-site-with-over-32-bytes"),
    "a callback's secret": re.compile(r"whsec_[\w+/=-]{16,}"),
    "a password in a URL": re.compile(r"://[^\s/@:]*:(?!\*)[^\s/@]{3,}@"),
}


def secrets_in(text: str) -> list[str]:
    """What was found, in words, and never itself."""
    return [what for what, pattern in FORBIDDEN.items() if pattern.search(text)]
