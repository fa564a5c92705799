"""What servers and mails were really seen to do, by number, and why some of it has no switch here."""

from collections import defaultdict

from postroom.lab.switches import FAULTS, Fault

CHAPTERS = {
    1: "Connection and session",
    22: "Limits",
    34: "Login",
    39: "Folders",
    56: "UIDs, modification sequences, removals",
    76: "Answers to FETCH",
    91: "Mails",
    104: "APIs of Gmail and Microsoft",
}
SEEN = (
    "the greeting comes late or never",
    "PREAUTH skips STARTTLS",
    "plaintext follows the OK to STARTTLS",
    "STARTTLS is stripped or refused",
    "IDLE dies without a word",
    "BYE in IDLE, or on a shutdown",
    "BYE again and again, never a tagged reply",
    "the connection breaks or stalls in a literal",
    "a failed SELECT costs the session",
    "short sessions end in a storm of logins",
    "renewed tokens and reconnections cause each other",
    "the second LIST of a session fails",
    "NAMESPACE ends the session",
    "authenticated, but not connected",
    "a completion that cannot be read",
    "replies to commands that nobody sent, or not yet",
    "response codes without OK",
    "malformed capabilities, or others after the login",
    "large uploads that are refused",
    "ENABLE without ENABLED",
    "socket errors after the end",
    "quotas of bandwidth",
    "throttled replies",
    "too many connections",
    "a cap on connections that is told as [UNAVAILABLE]",
    "a time to wait in milliseconds",
    "only the newest messages of a folder",
    "SEARCH finds only some",
    "one message that can never be fetched",
    "an OAuth endpoint that is busy",
    "a refreshed token that is overwritten",
    "status codes of other protocols",
    "an outgoing mail that can never be parsed",
    "no SELECT without ID",
    "AUTH LOGIN prompts with other words",
    "LOGINDISABLED",
    "shared mailboxes want LOGIN",
    "passwords with blanks and other letters",
    "names in invalid modified UTF-7",
    "names that are not to be encoded anew",
    "names change to UTF-8",
    "no delimiter",
    "a namespace with a prefix",
    "names as literals, or not quoted",
    "listed folders that cannot be selected",
    "wildcards in names",
    "LIST is empty for a moment",
    "LIST with RETURN is refused",
    "folders listed twice, or without a name",
    "folders deleted, made again, renamed crosswise",
    "a Gmail label is renamed silently",
    "no INBOX",
    "names that climb out of a path",
    "a hundred thousand folders",
    "INBOX in other letters",
    "UIDVALIDITY changes",
    "UIDVALIDITY changes at each login",
    "UIDVALIDITY changes in all folders but INBOX",
    "UIDVALIDITY is missing, 0 or garbage",
    "UIDVALIDITY changes, and the folder is empty",
    "UIDNEXT or STATUS are missing",
    "modification sequences go down, or are none",
    "VANISHED is malformed, or lies",
    "HIGHESTMODSEQ is ahead of the change",
    "VANISHED is told once and never again",
    "sequence numbers that do not exist",
    "sequence numbers shift in a FETCH",
    "a message goes between SEARCH and FETCH",
    "UIDs are skipped, descend, or are 0",
    "APPENDUID is missing, swapped, or misplaced",
    "the reply to APPEND or MOVE is lost",
    "EXPUNGE removes the mail of others",
    "MOVE is broken",
    "SEARCH in another form than asked",
    "flags flip, or are not kept",
    "FETCH without FLAGS",
    "empty bodies",
    "bodies left out",
    "BODYSTRUCTURE in twenty wrong forms",
    "ENVELOPE in wrong forms",
    "addresses without a host",
    "numbers that are none",
    "RFC822.SIZE is not the size",
    "literals of another length than announced",
    "lines, literals, parentheses without end",
    "literal8",
    "8-bit text anywhere",
    "odd flags, labels, thread ids",
    "INTERNALDATE is missing or absurd",
    "answers about other folders",
    "no Message-ID",
    "one Message-ID for different mails",
    "Message-IDs that are rewritten",
    "two From, two Message-IDs",
    "impossible dates",
    "NUL bytes",
    "wrong charsets, 8-bit headers",
    "more words than an index takes",
    "huge mails",
    "tens of thousands of addresses, headers, parts",
    "nesting and boundaries gone wrong",
    "header names that are words of a language",
    "reports, TNEF, signed mail",
    "a history that has expired",
    "pages of a history that are empty, or poisonous",
    "notifications late, twice, or never",
    "a delta token that is not accepted any more",
    "ids that change with a move",
)
NOT_PLAYED = {
    30: "an OAuth endpoint is an HTTP server, and not this one",
    31: "two writers of one row: a matter of the database",
    32: "status codes of HTTP and SMTP; the lab speaks IMAP",
    33: "outgoing mail; the lab speaks IMAP",
    38: "a matter of clients; the lab's own password holds a blank",
    54: "an option and not a fault: `folder_count=5000` of `lab.serve`",
    104: "the API of Gmail, and not IMAP",
    106: "notifications of APIs, and not IMAP",
    107: "the API of Microsoft, and not IMAP",
    108: "the API of Microsoft, and not IMAP",
}
HEAD = """# Faults of the lab server

<!-- Written by `postroom lab faults --reference`; a test compares. -->

Each switch makes `postroom lab imap --fault NAME` misbehave as real servers were seen to; switches combine.
The numbers are those of the catalogue of misbehaviours. How to use them:
[test with the lab](../howto/test-with-the-lab.md).
"""


def reference() -> str:
    """The page that lists all faults, by what they play."""
    played: dict[int, list[Fault]] = defaultdict(list)
    for fault in FAULTS.values():
        played[fault.misbehaviour].append(fault)
    lines = [HEAD]
    for number, what in enumerate(SEEN, 1):
        if number in CHAPTERS:
            lines.append(f"\n## {CHAPTERS[number]}\n\n| | seen | switch | what it does |\n|---|---|---|---|")
        for fault in played[number]:
            lines.append(f"| {number} | {what} | `{fault.name}` | {fault.does} |")
        if number in NOT_PLAYED and not played[number]:
            lines.append(f"| {number} | {what} | | {NOT_PLAYED[number]} |")
    return "\n".join(lines) + "\n"
