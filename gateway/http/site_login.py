"""The site's own login: a JWT that its server signed says who a visitor is, and which rooms they may have
tokens for. With a shared secret, or with keys that are published as a JWKS.
"""

from __future__ import annotations

import fnmatch
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
import jwt
import structlog
from jwt import PyJWKClient
from jwt.exceptions import PyJWKClientError, PyJWKSetError

from gateway.errors import LoginUnavailable
from gateway.livekit.tokens import LEEWAY, InvalidToken
from gateway.settings import SiteSettings

log = structlog.get_logger(__name__)

FETCH_WITHIN = 5.0
"""Seconds for the key set."""
KEPT_FOR = 300.0
"""Seconds for which a key set is used; an unknown key id has it fetched anew, at most every 30 s."""
LEFT_ALONE_FOR = 5.0
"""Seconds for which a server that did not give its keys is not asked again."""
THREADS = 4
MOST_BYTES = 16 * 1024
MOST_ROOMS = 100

_BY_SECRET = ("HS256", "HS384", "HS512")
_BY_KEY = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Never both: with a public key as an HMAC secret anybody could sign."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """Whom the site's JWT names."""

    identity: str
    rooms: tuple[str, ...] | None
    """Names or shell patterns of the rooms that they may have; None: the JWT says nothing of rooms."""

    def may_have(self, room: str) -> bool:
        return any(fnmatch.fnmatchcase(room, pattern) for pattern in self.rooms or ())


class SiteLogin:
    def __init__(self, settings: SiteSettings) -> None:
        self._settings = settings
        self._keys = (
            PyJWKClient(settings.jwks_url, lifespan=KEPT_FOR, timeout=FETCH_WITHIN)
            if settings.jwks_url
            else None
        )
        self._threads = anyio.CapacityLimiter(THREADS)
        self._ask_from = 0.0

    async def visitor(self, token: str) -> Visitor:
        """Raises InvalidToken; LoginUnavailable when the site's keys cannot be fetched."""
        if len(token) > MOST_BYTES:
            raise InvalidToken("it is too long")
        try:
            return self._visitor(await self._claims(token))
        except jwt.InvalidSignatureError:
            raise InvalidToken("its signature does not match") from None
        except jwt.ExpiredSignatureError:
            raise InvalidToken("it has expired") from None
        except jwt.ImmatureSignatureError:
            raise InvalidToken("it is not valid yet: is this machine's clock right?") from None
        except jwt.MissingRequiredClaimError as fault:
            raise InvalidToken(f"it has no {fault.claim}") from None
        except (jwt.InvalidAudienceError, jwt.InvalidIssuerError):
            raise InvalidToken("it is of another issuer, or for another audience") from None
        except jwt.InvalidAlgorithmError:
            raise InvalidToken("its algorithm is not one that this login uses") from None
        except (jwt.InvalidTokenError, jwt.PyJWKError, ValueError, TypeError, RecursionError):
            raise InvalidToken("it is no JWT of this site's login") from None

    async def _claims(self, token: str) -> dict[str, Any]:
        settings = self._settings
        return jwt.decode(
            token,
            settings.secret if self._keys is None else await self._key_of(self._keys, token),
            algorithms=_BY_SECRET if self._keys is None else _BY_KEY,
            audience=settings.audience or None,
            issuer=settings.issuer or None,
            leeway=LEEWAY,
            options={"require": ["exp"], "verify_aud": bool(settings.audience)},
        )

    async def _key_of(self, keys: PyJWKClient, token: str) -> Any:
        """A fetch takes a thread, and never the loop."""
        if jwt.get_unverified_header(token).get("alg") not in _BY_KEY:
            raise jwt.InvalidAlgorithmError
        if time.monotonic() < self._ask_from:
            raise LoginUnavailable("The site's login keys could not be fetched: try again.")
        try:
            return await anyio.to_thread.run_sync(
                partial(keys.get_signing_key_from_jwt, token), limiter=self._threads
            )
        except (PyJWKClientError, PyJWKSetError, ValueError) as fault:
            has_keys = keys.jwk_set_cache is not None and keys.jwk_set_cache.get() is not None
            if type(fault) is PyJWKClientError and has_keys:
                raise jwt.InvalidTokenError from None  # of a key that the site does not have
            self._ask_from = time.monotonic() + LEFT_ALONE_FOR
            log.error("site_login_keys_unavailable", why=str(fault))
            raise LoginUnavailable("The site's login keys could not be fetched: try again.") from None

    def _visitor(self, claims: Mapping[str, Any]) -> Visitor:
        settings = self._settings
        identity = claims.get(settings.identity_claim)
        if not isinstance(identity, str) or not identity:
            raise InvalidToken(f"its {settings.identity_claim} is no name")
        rooms = claims.get(settings.rooms_claim)
        if isinstance(rooms, str):
            rooms = [rooms]
        listed = isinstance(rooms, list) and all(isinstance(room, str) for room in rooms)
        if rooms is not None and (not listed or len(rooms) > MOST_ROOMS):
            raise InvalidToken(f"its {settings.rooms_claim} is no list of at most {MOST_ROOMS} rooms")
        for name in (identity, *(rooms or ())):
            name.encode()  # JSON can carry half a surrogate pair, which no answer can: a ValueError
        return Visitor(identity=identity, rooms=None if rooms is None else tuple(rooms))
