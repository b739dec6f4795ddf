"""
The gateway's settings: a TOML file and the environment, read once into frozen, typed values.

The only reader of the environment.
``GATEWAY_UPLOADS__MAX_LENGTH=1000000`` overrides ``max_length`` in ``[uploads]`` of the file, and
``GATEWAY_SIGN_IN__KINDS__TWILIO__API_KEY_SECRET`` one setting of a kind; with ``__FILE`` after it, a variable names a
file that holds the value.
Every limit of the gateway is a setting here, with its default; ``config/gateway.example.toml`` shows them all.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import msgspec

from gateway.account_settings import Exports, Leaving
from gateway.base.errors import ConfigurationError
from gateway.base.sections import NotNegative, Port, Positive, Section
from gateway.base.toml import merge_tables, merge_variable, read_tables
from gateway.notice_settings import Mail, Notices
from gateway.operator_settings import Audit, Operators

ENVIRONMENT_PREFIX: Final = "GATEWAY_"

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_GIB: Final = 1024 * _MIB
_HOUR: Final = 3600
_DAY: Final = 24 * _HOUR


class Server(Section, frozen=True):
    """
    Where the daemon listens.
    """

    host: str = "127.0.0.1"
    port: Port = 8080
    """0 takes a free port and says which."""
    public_url: str = ""
    """Where browsers reach the gateway, such as ``https://calls.example.org``; empty: wherever a request says."""
    production: bool = False
    """Whether people's real calls are kept here: what is for trying out only refuses to start then."""
    proxies: list[str] = msgspec.field(default_factory=list)
    """Networks of reverse proxies, such as ``10.0.0.0/8``, whose ``X-Forwarded-For`` is believed."""
    backlog: Positive = 1024
    """Connections that wait to be accepted, as far as the system allows; those beyond it are reset after some seconds."""
    shutdown_timeout_s: NotNegative = 3
    """How long requests in flight may go on after SIGTERM. Uploads end at once and keep what they brought."""


class Data(Section, frozen=True):
    """
    Where the daemon keeps things; an empty URL means a SQLite file in the data directory.
    """

    dir: str = "gateway-data"
    catalog_url: str = ""
    keys_url: str = ""
    catalog_schema: str = "catalog"
    keys_schema: str = "keys"
    """The schemas are PostgreSQL's; SQLite has a file for each."""
    pool_size: Positive = 4


class Uploads(Section, frozen=True):
    """
    What an upload may cost.
    """

    max_length: Positive = 8 * _GIB
    """Bytes; a longer one is refused with 413."""
    max_open_per_user: Positive = 1000
    """Unfinished uploads of one user; past it 429."""
    max_metadata_bytes: Positive = 16 * _KIB
    unfinished_lifetime_s: Positive = 7 * _DAY
    """An unfinished upload is dropped this long after its last byte."""
    finished_lifetime_s: Positive = _DAY
    """A finished upload still answers this long, so that a lost last answer costs nothing."""
    ended_memory_s: Positive = 30 * _DAY
    """An expired upload answers 410 this long, then 404."""
    idle_timeout_s: Positive = 60
    """A body that brings nothing for so long is ended; what it brought is kept."""
    handover_timeout_s: Positive = 5
    """How long a newcomer waits for the holder of an upload to let go before going on without him."""
    sweep_interval_s: Positive = 60


class Spool(Section, frozen=True):
    """
    The disk space for uploads that are not placed yet.
    """

    min_free_bytes: NotNegative = 256 * _MIB
    """With less free space on its file system new bytes are refused with 507."""
    max_bytes: NotNegative = 0
    """The most the spool may hold; 0 is no limit but the disk."""
    threads: Positive = 4


class Recordings(Section, frozen=True):
    """
    How lists are cut.
    """

    page_size: Positive = 50
    max_page_size: Positive = 500
    scan_limit: Positive = 5000
    """Recordings opened for one page of a filtered list; a page that ends there says how to go on."""


class Playback(Section, frozen=True):
    """
    Hearing recordings from the local disk.
    """

    threads: Positive = 4
    """Threads that read short ranges which are not in memory, and as many others that read, open and send long ones."""
    open_files: NotNegative = 64
    """Files of recordings that were heard just now stay open, so many at the most."""
    open_file_idle_s: Positive = 10
    """One that nobody reads for so long is closed."""


class Tokens(Section, frozen=True):
    """
    Bearer tokens made by command.
    """

    lifetime_s: Positive = 365 * _DAY


class SignIn(Section, frozen=True):
    """
    How people sign in.
    """

    kinds: dict[str, dict[str, Any]] = msgspec.field(default_factory=lambda: {"console": {}})
    """
    The ways of proving who one is, each with the operator's settings for it.

    ``console`` writes codes into the daemon's log, for trying it out.
    """
    open: bool = True
    """Whether people who are not known here get an account."""
    attempt_lifetime_s: Positive = 600
    """How long somebody may take to prove who he is."""
    max_tries: Positive = 5
    """Codes that may be named before another one has to be sent."""
    resend_after_s: NotNegative = 30
    window_s: Positive = _HOUR
    """Within so long:"""
    codes_per_number: Positive = 5
    codes_per_address: Positive = 20
    codes_per_device: Positive = 10
    codes_in_all: Positive = 1000
    """Codes cost money: past this none is sent to anybody."""
    tries_per_number: Positive = 15
    tries_per_address: Positive = 100
    """Codes and refresh tokens named from one address that were none."""
    countries: list[str] = msgspec.field(default_factory=list)
    """Where codes are sent to, as ISO 3166 codes such as ``US``; empty: everywhere but to numbers that cost extra."""
    access_lifetime_s: Positive = 900
    """Of an app's access token."""
    refresh_lifetime_s: Positive = 90 * _DAY
    """An app that does not come for so long has to sign in again."""
    refresh_grace_s: NotNegative = 60
    """A refresh token may come twice within so long, for the first answer may be lost on its way."""
    refresh_memory_s: Positive = 30 * _DAY
    """How long a used refresh token is remembered, so that a copy of it gives its thief away."""
    session_lifetime_s: Positive = 12 * _HOUR
    """Of a browser that is not to be remembered."""
    remembered_lifetime_s: Positive = 90 * _DAY
    max_devices: Positive = 50
    """Of one user; the one that was used least lately makes room."""
    return_to: list[str] = msgspec.field(default_factory=list)
    """Where an app may have the browser sent after a provider's consent; one that ends with / stands for all below it."""


class Keyring(Section, frozen=True):
    """
    The key tree.
    """

    index_block: Positive = 1024
    """Leaf indexes reserved at once; what is left at a restart is never used."""
    receipt_wait_s: Positive = 10
    """A deletion that takes longer answers 202 with the receipt's address."""


class Home(Section, frozen=True):
    """
    The operator's own storage, where every recording goes.
    """

    kind: str = "local"
    settings: dict[str, Any] = msgspec.field(default_factory=dict)
    """Given to the backend kind; for local: ``root``, by default ``blobs`` in the data directory."""


class Backends(Section, frozen=True):
    """
    How every backend is called, whatever its kind.
    """

    call_timeout_s: Positive = 60
    """A call that sends no bytes is given up after so long."""
    put_timeout_s: Positive = 600
    """A put that takes no more bytes for so long is given up; so is a part that takes longer."""
    idle_timeout_s: Positive = 60
    """A read or a listing that brings nothing for so long is given up."""
    max_attempts: Positive = 4
    """Tries of one call before its error is told; a job then tries the whole again, later."""
    backoff_base_ms: Positive = 250
    backoff_max_ms: Positive = 30 * 1000
    """The longest wait for the next try; a provider that asks for more is left alone until the job's next turn."""
    successes_to_widen: Positive = 20
    """After a provider's complaint half as many calls are made at once, and one more after so many successes."""


class Links(Section, frozen=True):
    """
    The accounts of their own that users link.
    """

    kinds: dict[str, dict[str, Any]] = msgspec.field(default_factory=dict)
    """What can be linked: kinds of backends, each with the operator's settings for it, such as the client's id."""
    max_per_user: Positive = 10
    attempt_lifetime_s: Positive = 600
    """How long a user may take for his consent."""
    return_to: list[str] = msgspec.field(default_factory=list)
    """Where else than to this gateway a user may be sent after linking; one that ends with / stands for all below it."""
    allow_private_addresses: bool = False
    """Whether a user may name a server in the gateway's own network."""
    allow_http: bool = False
    """Whether a user may name a server that is spoken to in clear."""
    token_timeout_s: Positive = 30
    """A token server that answers nothing for so long is given up."""
    refresh_margin_s: NotNegative = 300
    """An access token is replaced so long before it runs out."""
    refresh_idle_s: Positive = 30 * _DAY
    """A grant that was not used for so long is refreshed, lest it die of that."""
    expiring_s: Positive = 3 * _DAY
    """A grant that ends within this time is told of."""
    check_interval_s: Positive = 900
    """How often a link that something is wrong with is looked at, and how often others are looked through."""
    connection_idle_s: NotNegative = 300
    """A connection that nobody uses is closed after so long."""
    parting_s: Positive = 30
    """How long the accounts of somebody who is erased may hold up the end of his keys, while they are left."""
    lane_threads: Positive = 4
    """Threads of one link, for kinds whose library blocks."""
    lane_queue: Positive = 256
    """Calls that may wait for such a thread."""


class Placement(Section, frozen=True):
    """
    Where recordings go, and how copies are made.
    """

    default_route: Literal["home", "home-and-links", "links"] = "home"
    """Of users who chose none: at home alone, at home and at all accounts that they linked, or at these alone."""
    part_memory_bytes: Positive = 64 * _MIB
    """What all puts in parts may hold in memory together."""


class Scrub(Section, frozen=True):
    """
    Looking after copies in the background.
    """

    every_s: NotNegative = 7 * _DAY
    """How often each copy is looked at, by its size and the provider's hash; 0: never."""
    per_minute: Positive = 60
    """How many recordings are looked at in a minute, at the most."""
    deep: bool = False
    """Whether each copy is read and every chunk of it opened, which downloads it."""


class Jobs(Section, frozen=True):
    """
    Durable work.
    """

    workers: Positive = 64
    """How many jobs go on at once; what they ask and note at the same time shares transactions."""
    copy_workers: Positive = 8
    """How many copies, moves and checks go on at once."""
    courtesy_s: NotNegative = 10
    """For how long what nobody waits for, placing and copying, may lie while many upload."""
    lease_s: Positive = 60
    poll_interval_s: Positive = 5
    max_attempts: Positive = 30
    """Tries before a job is parked for the operator."""
    backoff_base_ms: Positive = 500
    backoff_max_ms: Positive = 10 * 60 * 1000


class Retention(Section, frozen=True):
    """
    How long things are kept, and when erasing what is overdue waits for an operator.
    """

    recordings_days: NotNegative = 365
    """Days after which a recording expires, from when it was stored; 0 keeps it until it is deleted."""
    sweep_interval_s: Positive = _DAY
    """What is overdue goes together, once in so long: one receipt for each row of a user's recordings."""
    max_clock_step_s: Positive = 3 * _DAY
    """A clock that is further ahead than time can have passed, as far as the gateway knows, is not believed."""
    max_per_sweep: NotNegative = 100_000
    """With more recordings due than this a sweep waits for an operator; 0 is no limit."""
    batch: Positive = 20_000
    """Recordings that become tombstones in one transaction."""
    notice_days: list[Positive] = msgspec.field(default_factory=lambda: [30, 7])
    """So many days before recordings expire their user is told."""
    notice_spacing_days: Positive = 7
    """He is told of what expires within so many days more, and for so long not again."""
    erase_unused_accounts: bool = True
    accounts_unused_days: Positive = 730
    """Days after the last day of use until an account is erased."""
    unused_notice_days: Annotated[list[Positive], msgspec.Meta(min_length=1)] = msgspec.field(
        default_factory=lambda: [60, 30, 7]
    )
    """So many days before that its user is told."""
    unused_wait_days: NotNegative = 30
    """So much longer it stays where he could not be told because no mail server took the mail."""
    max_accounts_per_sweep: NotNegative = 1000
    """With more accounts due than this they wait for an operator; 0 is no limit."""


class Plugins(Section, frozen=True):
    """
    Backend plugins.
    """

    disabled: list[str] = msgspec.field(default_factory=list)
    """Entry point names that are not loaded."""
    pinned: dict[str, str] = msgspec.field(default_factory=dict)
    """Entry point name and SHA-256, as ``gateway plugin list`` tells it; what is installed otherwise is left out."""


class Log(Section, frozen=True):
    """
    The daemon's log, on stderr.
    """

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "console"] = "console"


class Hardening(Section, frozen=True):
    """
    What is asked of the operating system so that keys stay in memory.
    """

    no_core_dumps: bool = True
    scrub_freed_memory: bool = True
    """Start with an allocator that overwrites what is freed; see DELETION on what that is worth."""


class Settings(Section, frozen=True):
    """
    All settings.
    """

    server: Server = Server()
    data: Data = Data()
    uploads: Uploads = Uploads()
    spool: Spool = Spool()
    recordings: Recordings = Recordings()
    playback: Playback = Playback()
    tokens: Tokens = Tokens()
    sign_in: SignIn = SignIn()
    keyring: Keyring = Keyring()
    home: Home = Home()
    backends: Backends = Backends()
    links: Links = Links()
    placement: Placement = Placement()
    scrub: Scrub = Scrub()
    jobs: Jobs = Jobs()
    mail: Mail = Mail()
    notices: Notices = Notices()
    retention: Retention = Retention()
    leaving: Leaving = Leaving()
    exports: Exports = Exports()
    operators: Operators = Operators()
    audit: Audit = Audit()
    plugins: Plugins = Plugins()
    log: Log = Log()
    hardening: Hardening = Hardening()

    @property
    def data_dir(self) -> Path:
        """
        The data directory, absolute.
        """
        return Path(self.data.dir).expanduser().absolute()

    @property
    def catalog_url(self) -> str:
        return self.data.catalog_url or f"sqlite:///{self.data_dir / 'catalog.db'}"

    @property
    def keys_url(self) -> str:
        return self.data.keys_url or f"sqlite:///{self.data_dir / 'keys.db'}"

    @classmethod
    def load(
        cls,
        file: Path | None = None,
        *,
        overrides: Mapping[str, Mapping[str, Any]] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Self:
        """
        Return the settings of *file*, changed by the environment, changed by *overrides* (the command line).

        Raises:
            ConfigurationError: the file cannot be read, or a value is wrong; names the key and where it came from.
        """
        tables: dict[str, dict[str, Any]] = {}
        sources: dict[str, str] = {}
        if file is not None:
            merge_tables(tables, sources, read_tables(file), str(file))
        values = os.environ if environment is None else environment
        for name, text in sorted(values.items()):
            if name.startswith(ENVIRONMENT_PREFIX) and "__" in name.removeprefix(ENVIRONMENT_PREFIX):
                merge_variable(tables, sources, name, text, prefix=ENVIRONMENT_PREFIX)
        merge_tables(tables, sources, overrides or {}, "the command line")
        for table, entries in tables.items():
            for key, value in entries.items():
                try:
                    msgspec.convert({table: {key: value}}, cls)
                except msgspec.ValidationError as error:
                    reason = str(error).split(" - at ")[0]
                    raise ConfigurationError(
                        f"setting {table}.{key} from {sources[f'{table}.{key}']}: {reason}"
                    ) from None
        return msgspec.convert(tables, cls)


def passed_environment() -> dict[str, str]:
    """
    Return the environment of this process, for handing it to a child.
    """
    return dict(os.environ)


@contextmanager
def environment_without(prefix: str) -> Iterator[None]:
    """
    Keep variables whose names begin so from libraries of this process, for as long as this is entered.
    """
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith(prefix)}
    try:
        yield
    finally:
        os.environ.update(kept)
