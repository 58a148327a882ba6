"""The command line: `roomkeeper dev | start | token`. Reads settings, reports what is wrong with them, and
hands over; everything heavy is imported where it is used.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Annotated

import typer

from gateway.errors import RoomkeeperError, SettingsError
from gateway.settings import LiveKitSettings, Settings, read

app = typer.Typer(
    help="Puts exactly one agent into every LiveKit room that wants one, and keeps it there.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="[MODULE:SERVER]",
        help="Your AgentServer: agent:server, or path/to/agent.py. Default: the built-in echo agent.",
    ),
]
Host = Annotated[str | None, typer.Option(help="Address to listen on.")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")]
Slots = Annotated[int | None, typer.Option(help="Calls at once; as many processes are kept warm.")]
RoleOption = Annotated[
    str | None, typer.Option(help="all, gateway (no workers) or worker (nothing but workers).")
]


@app.command()
def dev(
    target: Target = None,
    host: Host = None,
    port: Port = None,
    slots: Slots = None,
    with_livekit: Annotated[
        bool, typer.Option("--with-livekit", help="Start a livekit-server, unless LIVEKIT_URL is set.")
    ] = False,
) -> None:
    """Run on this machine: LiveKit's dev keys, open doors, ends at once on Ctrl-C."""
    with _faults_reported():
        env = _environment()
        settings = read(env, dev=True, target=target, host=host, port=port, slots=slots)
        _run(settings, own_livekit=with_livekit and not env.get("LIVEKIT_URL", "").strip())


@app.command()
def start(
    target: Target = None,
    host: Host = None,
    port: Port = None,
    slots: Slots = None,
    role: RoleOption = None,
) -> None:
    """Run in production: your own LiveKit keys, tokens asked for, calls drained on SIGTERM."""
    with _faults_reported():
        _run(read(_environment(), dev=False, target=target, host=host, port=port, slots=slots, role=role))


@app.command()
def token(
    admin: Annotated[bool, typer.Option("--admin", help="An operator's token, for every room.")] = False,
    room: Annotated[str, typer.Option(help="A participant's token, for this room.")] = "",
    identity: Annotated[str, typer.Option(help="Who it is for.")] = "",
    ttl: Annotated[float, typer.Option(min=1, help="Seconds that it is valid.")] = 3600.0,
) -> None:
    """Print a token signed with LIVEKIT_API_KEY and LIVEKIT_API_SECRET (else LiveKit's dev pair)."""
    with _faults_reported():
        if admin == bool(room):
            raise SettingsError(["token: say either --admin or --room NAME"])
        livekit = read(_environment(), dev=True).livekit
        _know_the_dev_secret(livekit)
        from gateway.livekit import tokens

        if admin:
            minted = tokens.mint_operator(
                livekit.api_key, livekit.api_secret, identity=identity or "operator", ttl=ttl
            )
        else:
            minted = tokens.mint(
                livekit.api_key, livekit.api_secret, room=room, identity=identity or "user", ttl=ttl
            )
        typer.echo(minted)


def _environment() -> dict[str, str]:
    """The environment over `.env` in the working directory. Agents read theirs from it too."""
    from dotenv import load_dotenv

    try:
        load_dotenv(".env")
    except UnicodeDecodeError:
        raise SettingsError([".env: it is not UTF-8 text"]) from None
    return dict(os.environ)


@contextmanager
def _faults_reported() -> Iterator[None]:
    """Our own errors are words for an operator, not tracebacks."""
    try:
        yield
    except SettingsError as error:
        for fault in error.faults:
            typer.echo(fault, err=True)
        raise typer.Exit(2) from None
    except RoomkeeperError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None


def _know_the_dev_secret(livekit: LiveKitSettings) -> None:
    """PyJWT warns of short secrets at each use. LiveKit's public one is short, and no news in `dev`."""
    if livekit.is_dev:
        warnings.filterwarnings("ignore", message="The HMAC key is")


def _run(settings: Settings, *, own_livekit: bool = False) -> None:
    from gateway import logs
    from gateway.listening import allow_many_connections, listen
    from gateway.process import run

    _know_the_dev_secret(settings.livekit)
    logs.configure(level=settings.log_level, json=settings.log_json)
    allow_many_connections()
    with ExitStack() as stack:
        socket = stack.enter_context(listen(settings.http.host, settings.http.port))
        port = socket.getsockname()[1]
        settings = replace(settings, http=replace(settings.http, port=port))
        if own_livekit:
            from gateway.http.routes import WEBHOOK
            from gateway.local import livekit_server

            url = stack.enter_context(
                livekit_server(
                    key=settings.livekit.api_key,
                    secret=settings.livekit.api_secret,
                    webhook_url=f"http://127.0.0.1:{port}{WEBHOOK}",
                )
            )
            settings = replace(settings, livekit=replace(settings.livekit, url=url))
        code = run(settings, socket, own_livekit=own_livekit)
    raise typer.Exit(code)
