"""The command line, command by command. Reads settings, reports what is wrong with them, and hands over;
everything heavy is imported where it is used.
"""

from __future__ import annotations

import gc
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import Annotated

import typer

from gateway.environment import read
from gateway.errors import RoomkeeperError, SettingsError
from gateway.settings import LiveKitSettings, Settings

app = typer.Typer(
    help="Puts exactly one agent into every LiveKit room that wants one, and keeps it there.",
    no_args_is_help=True,
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


Url = Annotated[str, typer.Option(help="The gateway's URL; by default where ROOMKEEPER_PORT has it listen.")]
Json = Annotated[bool, typer.Option("--json", help="For programs: JSON, nothing else.")]


@app.command()
def check(
    url: Url = "",
    agent: Annotated[str, typer.Option(help="The agent to ask for; the gateway's default.")] = "",
    timeout: Annotated[float, typer.Option(min=1, max=600, help="Seconds for all of it.")] = 30.0,
    skip: Annotated[list[str] | None, typer.Option(help="A line to leave out; may be given again.")] = None,
    json: Json = False,
) -> None:
    """Find what is wrong with the site, with the gateway's own environment, while it runs."""
    with _faults_reported():
        from gateway.operator import check

        env = _environment()
        with suppress(SettingsError):  # the check tells of them
            _know_the_dev_secret(read(env, dev=True).livekit)
        check.leave(check.main(env, url=url, agent=agent, limit=timeout, skip=skip or (), json=json))


@app.command()
def rooms(
    watch: Annotated[bool, typer.Option("--watch", help="Again each second, until Ctrl-C.")] = False,
    json: Json = False,
    url: Url = "",
) -> None:
    """Show the rooms: who is wanted there, how far it is, and why it is as it is."""
    with _faults_reported():
        from gateway.operator import rooms

        raise typer.Exit(rooms.main(_operators_settings(), url=url, watch=watch, json=json))


def _room_names(incomplete: str) -> list[str]:
    """A shell that completes a word has no place for faults."""
    with suppress(RoomkeeperError):
        from gateway.operator import stop

        return stop.names(_operators_settings(), incomplete)
    return []


@app.command()
def stop(
    room: Annotated[str, typer.Argument(help="The room's name.", autocompletion=_room_names)],
    agent: Annotated[str, typer.Option(help="Which agent; the gateway's default.")] = "",
    url: Url = "",
) -> None:
    """End a room's agent, for good: nobody is called until somebody asks again."""
    with _faults_reported():
        from gateway.operator import stop

        raise typer.Exit(stop.main(_operators_settings(), room, agent=agent, url=url))


def _operators_settings() -> Settings:
    settings = read(_environment(), dev=True)
    _know_the_dev_secret(settings.livekit)
    return settings


@app.command()
def alerts(
    kubernetes: Annotated[
        bool, typer.Option("--kubernetes", help="As a PrometheusRule, for the Prometheus operator.")
    ] = False,
    missing_after: Annotated[
        float, typer.Option(min=1, help="Page when a room has lacked its agent for so many seconds.")
    ] = 60.0,
    within: Annotated[
        float, typer.Option(help="An agent that came later than that, in seconds, is late.")
    ] = 2.5,
    objective: Annotated[float, typer.Option(help="The share of agents that should not be late.")] = 0.99,
    job: Annotated[
        str, typer.Option(help="Prometheus' scrape jobs that are Roomkeeper, a regular expression.")
    ] = "roomkeeper.*",
    runbooks: Annotated[
        str, typer.Option(help="Where docs/operations.md can be read: each alert links to its entry there.")
    ] = "docs/operations.md",
) -> None:
    """Print the alerting rules of this version, for Prometheus."""
    with _faults_reported():
        from gateway.observe.alerts import Limits, groups
        from gateway.observe.rules import prometheus_rule, rules_file
        from gateway.observe.slo import Objective

        promise = Objective(within=within, share=objective)
        made = groups(Limits(missing_after=missing_after, objective=promise, job=job))
        typer.echo((prometheus_rule if kubernetes else rules_file)(made, runbooks), nl=False)


@app.command()
def dashboard() -> None:
    """Print the dashboard of this version, as JSON for Grafana (11 or newer)."""
    from gateway.observe.dashboard import dashboard_json

    typer.echo(dashboard_json())


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
    gc.disable()  # while all is imported: `gateway.app` looks through it once
    from gateway import logs
    from gateway.listening import allow_many_connections, listen

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
        if settings.role != "gateway":
            _start_the_forkserver(settings)
        from gateway.process import run

        code = run(settings, socket, own_livekit=own_livekit)
    raise typer.Exit(code)


def _start_the_forkserver(settings: Settings) -> None:
    """Before all else that is heavy: it imports side by side with this process. After the limit of open files
    was raised, which it and its children have, too."""
    from pool import early

    livekit = settings.livekit
    early.begin(
        settings.pool.target,
        url=livekit.url,
        api_key=livekit.api_key,
        api_secret=livekit.api_secret,
        shared_vad=settings.pool.shared_vad,
    )
