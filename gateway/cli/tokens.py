"""
``gateway token``: bearer tokens for the phone app and for scripts.
"""

import sys
from pathlib import Path

import click

from gateway.base.ids import UserId
from gateway.cli.options import installation_options, load_settings, run, say
from gateway.settings import Settings


@click.group()
def token() -> None:
    """
    Make and revoke bearer tokens.
    """


@token.command("new")
@installation_options
@click.option(
    "--lifetime", type=click.IntRange(1), metavar="SECONDS", help="How long it counts.  [default: a year]"
)
@click.argument("user_id", metavar="USER")
def new(config: Path | None, data_dir: Path | None, lifetime: int | None, user_id: str) -> None:
    """
    Make a token for USER and print it; it is shown this once.
    """
    settings = load_settings(config, data_dir)
    click.echo(run(_new(settings, user_id, lifetime or settings.tokens.lifetime_s)))


async def _new(settings: Settings, user_id: str, lifetime_s: int) -> str:
    from gateway.console import open_console

    async with open_console(settings) as console:
        # Before it is made: whoever has it can hear what its user can.
        user = await console.accounts.get_user(UserId(user_id))
        await console.audit.note(console.actor, "token.made", user=user, facts={"lifetime_s": lifetime_s})
        secret = await console.accounts.new_token(UserId(user_id), lifetime_s=lifetime_s)
        return secret.reveal().decode()


@token.command("revoke")
@installation_options
@click.option("--user", "user_id", metavar="USER", help="Revoke all tokens of this user instead.")
@click.argument("token_text", metavar="TOKEN", required=False)
def revoke(config: Path | None, data_dir: Path | None, user_id: str | None, token_text: str | None) -> None:
    """
    End a token, or all tokens of a user, at once. TOKEN may be - to read it from standard input.
    """
    if (user_id is None) == (token_text is None):
        raise click.UsageError("give either a TOKEN or --user")
    if token_text == "-":
        token_text = sys.stdin.readline().strip()
    count = run(_revoke(load_settings(config, data_dir), user_id, token_text))
    say(f"Revoked {count} token{'' if count == 1 else 's'}.")


async def _revoke(settings: Settings, user_id: str | None, token_text: str | None) -> int:
    from gateway.console import open_console

    async with open_console(settings) as console:
        if user_id is not None:
            user = await console.accounts.get_user(UserId(user_id))
            await console.audit.note(console.actor, "tokens.revoked", user=user)
            return await console.accounts.revoke_tokens_of(UserId(user_id))
        assert token_text is not None
        await console.accounts.revoke_token(token_text)
        return 1
