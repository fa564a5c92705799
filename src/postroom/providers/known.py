"""The large providers: where their IMAP server is, and how one logs in there.

Used to find the settings for an address, to tell an owner whose password was refused what to do instead, and
to keep within what a provider allows in a day and at a time. Sources are the providers' own help pages.

Only Gmail tells how many connections one account may have: 15 (its help on "Too many simultaneous
connections"; seen as such in zone-eu/wildduck#35 and imapsync#61). Whoever else refuses one too many teaches
it (`slots`). The default of our setting leaves room below Dovecot's, which is 10 for each user and address
(nixos-mailserver#105).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class LoginRule(StrEnum):
    PASSWORD = "password"  # the account's own password works
    APP_PASSWORD = "app_password"  # a password made for this purpose
    OAUTH = "oauth"  # no password at all
    NO_IMAP = "no_imap"


@dataclass(frozen=True, slots=True)
class Known:
    """A provider. `advice` is what the owner must do before a login can work, as one or two sentences.

    `mx`: the hosts, and all below them, to which domains of its customers have their mail delivered.
    """

    name: str
    host: str
    domains: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    customers: str = ""  # where the mail of its customers' domains is, if that is another host
    port: int = 993
    security: str = "tls"
    rule: LoginRule = LoginRule.PASSWORD
    advice: str = ""
    local_part: bool = False  # the user name is what stands before the @
    connections: int | None = None  # of one account at a time; None: not known
    daily_bytes: int | None = None  # that it lets one account download by IMAP


APP = LoginRule.APP_PASSWORD

PROVIDERS = (
    Known(
        "Gmail",
        "imap.gmail.com",
        ("gmail.com", "googlemail.com"),
        ("google.com", "googlemail.com"),
        rule=APP,
        connections=15,
        daily_bytes=2_500_000_000,  # Google Workspace Admin Help, "Gmail bandwidth limits"
        advice=(
            "Gmail does not accept your Google password here: turn on 2-Step Verification, make an "
            "app password at https://myaccount.google.com/apppasswords and use its 16 letters as the "
            "password."
        ),
    ),
    Known(
        "Outlook",
        "outlook.office365.com",
        (
            "outlook.com",
            "outlook.de",
            "outlook.fr",
            "hotmail.com",
            "hotmail.co.uk",
            "hotmail.de",
            "hotmail.fr",
            "hotmail.it",
            "live.com",
            "live.co.uk",
            "live.nl",
            "msn.com",
        ),
        ("mail.protection.outlook.com", "olc.protection.outlook.com", "mx.microsoft"),
        rule=LoginRule.OAUTH,
        advice=(
            "Microsoft has switched off passwords for IMAP (Outlook.com, Hotmail, Live, Microsoft "
            "365), app passwords too: this mailbox can only be connected with OAuth, by signing in at"
            " Microsoft."
        ),
    ),
    Known(
        "iCloud",
        "imap.mail.me.com",
        ("icloud.com", "me.com", "mac.com"),
        ("mail.icloud.com",),
        rule=APP,
        local_part=True,
        advice=(
            "iCloud wants an app-specific password: make one at https://account.apple.com under "
            "Sign-In and Security, and use the name before the @ as the user name."
        ),
    ),
    Known(
        "Yahoo",
        "imap.mail.yahoo.com",
        (
            "yahoo.com",
            "yahoo.co.uk",
            "yahoo.de",
            "yahoo.fr",
            "yahoo.it",
            "yahoo.es",
            "yahoo.ca",
            "yahoo.co.in",
            "yahoo.com.br",
            "ymail.com",
            "rocketmail.com",
        ),
        ("yahoodns.net",),
        rule=APP,
        advice=(
            "Yahoo wants an app password: make one under Account security, Generate app password, at "
            "https://login.yahoo.com/account/security."
        ),
    ),
    Known(
        "AOL",
        "imap.aol.com",
        ("aol.com", "aim.com", "verizon.net"),
        rule=APP,
        advice=(
            "AOL wants an app password: make one under Account security at "
            "https://login.aol.com/account/security."
        ),
    ),
    Known(
        "AT&T",
        "imap.mail.att.net",
        ("att.net", "sbcglobal.net", "bellsouth.net"),
        rule=APP,
        advice="AT&T wants a secure mail key: make one in your profile under Sign-in info.",
    ),
    Known(
        "GMX",
        "imap.gmx.net",
        ("gmx.net", "gmx.de", "gmx.at", "gmx.ch"),
        advice=(
            "Check the password, and switch on IMAP in the settings of GMX on the web, under E-Mail, "
            "POP3/IMAP; with two-factor login use an application-specific password."
        ),
    ),
    Known(
        "GMX",
        "imap.gmx.com",
        ("gmx.com", "gmx.us", "gmx.co.uk"),
        advice=(
            "Check the password, and switch on IMAP in the settings of GMX on the web, under POP3 & IMAP."
        ),
    ),
    Known(
        "WEB.DE",
        "imap.web.de",
        ("web.de",),
        advice=(
            "Check the password, and switch on IMAP in the settings of WEB.DE on the web, under "
            "POP3/IMAP Abruf."
        ),
    ),
    Known(
        "T-Online",
        "secureimap.t-online.de",
        ("t-online.de", "magenta.de"),
        advice="T-Online wants the password for e-mail programs, which you set in the customer centre.",
    ),
    Known("freenet", "mx.freenet.de", ("freenet.de",)),
    Known("mailbox.org", "imap.mailbox.org", ("mailbox.org",)),
    Known("Posteo", "posteo.de", ("posteo.de", "posteo.net", "posteo.org", "posteo.eu")),
    Known("IONOS", "imap.ionos.de", ("online.de",)),
    Known(
        "Fastmail",
        "imap.fastmail.com",
        ("fastmail.com", "fastmail.fm", "sent.com", "messagingengine.com"),
        ("messagingengine.com",),
        rule=APP,
        advice=(
            "Fastmail wants an app password: make one under Settings, Privacy & Security, Manage app "
            "passwords."
        ),
    ),
    Known(
        "Proton",
        "127.0.0.1",
        ("proton.me", "protonmail.com", "protonmail.ch", "pm.me"),
        ("protonmail.ch",),
        port=1143,
        security="starttls",
        rule=APP,
        advice=(
            "Proton Mail offers IMAP only through Proton Mail Bridge: run it on this machine and use "
            "the password that it shows."
        ),
    ),
    Known(
        "Tuta",
        "",
        ("tuta.com", "tuta.io", "tutanota.com", "tutanota.de", "tutamail.com", "keemail.me"),
        ("tutanota.de",),
        rule=LoginRule.NO_IMAP,
        advice="Tuta offers no IMAP, so this mailbox cannot be connected.",
    ),
    Known(
        "Zoho",
        "imap.zoho.com",
        ("zoho.com", "zohomail.com"),
        ("zoho.com",),
        "imappro.zoho.com",
        rule=APP,
        advice=(
            "Check that IMAP is on in Zoho Mail's settings; with two-factor login make an app "
            "password at https://accounts.zoho.com."
        ),
    ),
    Known(
        "Zoho",
        "imap.zoho.eu",
        ("zoho.eu", "zohomail.eu"),
        ("zoho.eu",),
        "imappro.zoho.eu",
        rule=APP,
        advice=(
            "Check that IMAP is on in Zoho Mail's settings; with two-factor login make an app "
            "password at https://accounts.zoho.eu."
        ),
    ),
    Known(
        "Mail.ru",
        "imap.mail.ru",
        ("mail.ru", "inbox.ru", "list.ru", "bk.ru", "internet.ru"),
        ("emx.mail.ru",),
        rule=APP,
        advice=(
            "Mail.ru wants a password for external applications: make one under Security at "
            "https://account.mail.ru."
        ),
    ),
    Known(
        "Yandex",
        "imap.yandex.com",
        ("yandex.ru", "yandex.com", "ya.ru", "yandex.by", "yandex.kz"),
        ("mx.yandex.net", "mx.yandex.ru"),
        rule=APP,
        advice=(
            "Yandex wants an app password: allow IMAP in the mailbox's settings under Mail clients, "
            "then make one at https://id.yandex.com/security/app-passwords."
        ),
    ),
    Known(
        "QQ Mail",
        "imap.qq.com",
        ("qq.com", "foxmail.com"),
        rule=APP,
        advice=(
            "QQ Mail wants an authorization code: switch on IMAP under Settings, Account, and use the code."
        ),
    ),
    Known(
        "NetEase 163",
        "imap.163.com",
        ("163.com",),
        rule=APP,
        advice=(
            "163 wants an authorization code: switch on IMAP under Settings, POP3/SMTP/IMAP, and use "
            "the code."
        ),
    ),
    Known(
        "NetEase 126",
        "imap.126.com",
        ("126.com",),
        rule=APP,
        advice=(
            "126 wants an authorization code: switch on IMAP under Settings, POP3/SMTP/IMAP, and use "
            "the code."
        ),
    ),
    Known(
        "Yeah.net",
        "imap.yeah.net",
        ("yeah.net",),
        rule=APP,
        advice="Yeah.net wants an authorization code: switch on IMAP under Settings and use the code.",
    ),
    Known(
        "Naver",
        "imap.naver.com",
        ("naver.com",),
        rule=APP,
        local_part=True,
        advice=(
            "Naver wants an application password when 2-step verification is on, and IMAP switched on"
            " under Preferences, POP3/IMAP."
        ),
    ),
    Known("Orange", "imap.orange.fr", ("orange.fr", "wanadoo.fr")),
    Known("Free", "imap.free.fr", ("free.fr",)),
    Known("La Poste", "imap.laposte.net", ("laposte.net",)),
    Known("SFR", "imap.sfr.fr", ("sfr.fr", "neuf.fr")),
    Known("Libero", "imapmail.libero.it", ("libero.it", "inwind.it", "iol.it")),
    Known("Seznam", "imap.seznam.cz", ("seznam.cz", "email.cz")),
    Known(
        "WP",
        "imap.wp.pl",
        ("wp.pl",),
        advice="Check the password, and allow IMAP in the settings of WP Poczta.",
    ),
    Known("Onet", "imap.poczta.onet.pl", ("onet.pl", "op.pl", "vp.pl")),
    Known(
        "Comcast",
        "imap.comcast.net",
        ("comcast.net",),
        advice="Check the password, and allow third-party access in the settings of Xfinity Email.",
    ),
    Known("Bluewin", "imaps.bluewin.ch", ("bluewin.ch",)),
)

BY_DOMAIN = {domain: known for known in PROVIDERS for domain in known.domains}
BY_MX = {host: known for known in PROVIDERS for host in known.mx}
BY_HOST = {known.host: known for known in PROVIDERS if known.host != "127.0.0.1"} | {
    **{known.customers: known for known in PROVIDERS if known.customers},
    "imap.googlemail.com": BY_DOMAIN["gmail.com"],
    "imap-mail.outlook.com": BY_DOMAIN["outlook.com"],
    "imap.yandex.ru": BY_DOMAIN["yandex.ru"],
}


def by_address(address: str) -> Known | None:
    """The provider of an address, as far as its domain tells."""
    return BY_DOMAIN.get(address.rpartition("@")[2].lower())


def by_mx(hosts: Sequence[str]) -> Known | None:
    """The provider that takes the mail of a domain: of its MX hosts the first one says which.

    Who takes the mail need not be where it is read: some only filter it. Those are not in the table.
    """
    labels = hosts[0].lower().rstrip(".").split(".") if hosts else []
    names = (".".join(labels[place:]) for place in range(len(labels)))
    return next((BY_MX[name] for name in names if name in BY_MX), None)


def by_host(host: str) -> Known | None:
    """The provider behind an IMAP host, whatever the domain of the address is."""
    return BY_HOST.get(host.lower().rstrip("."))
