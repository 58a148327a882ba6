"""The last wall before anything is shown: secrets, passwords and tokens have no place in a line, whoever put
them into the text (LiveKit's 401 repeats the whole token).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from gateway.settings import DEV_SECRET, Settings
from gateway.variables import UNPRINTABLE

HIDDEN = "***"
_TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
_PASSWORD = re.compile(r"(?<=://)[^\s/@]*@")


def cleaner(settings: Settings) -> Callable[[str], str]:
    """Takes out of a text every secret of the settings, whatever looks like one, and control characters."""
    given = [
        *settings.livekit.keys.values(),
        settings.site.secret,
        settings.callback.secret,
        _password(settings.store.url),
    ]
    secrets = sorted({s for s in given if s and s != DEV_SECRET}, key=len, reverse=True)

    def clean(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, HIDDEN)
        return UNPRINTABLE.sub("?", _PASSWORD.sub(f"{HIDDEN}@", _TOKEN.sub(HIDDEN, text)))

    return clean


def _password(url: str) -> str:
    return unquote(urlsplit(url).password or "") if url else ""
