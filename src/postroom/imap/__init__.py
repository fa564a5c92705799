"""An IMAP client protocol without a socket (`aio` opens the only one). Standard library only.

    async with aio.connect(host, port, tls=context) as session:   # or also starttls=aio.StartTls.REQUIRE
        await session.log_in(user, password)                      # AuthRefused, ServerBusy, NoMechanism
        await session.log_in_with_token(user, access_token)       # or so
        done = await session.run(commands.list_folders())         # Completed; done.responses hold Listed
        await session.run(commands.select(b"INBOX", read_only=True))
        session.selected                                          # exists, validity, uid_next, highest_modseq
        async for said in session.stream(commands.uid_fetch("1:*", ["FLAGS"])):
            ...                                                   # Fetch: seq, uid, flags, modseq
        windows = (commands.uid_fetch(part, ["BODY.PEEK[]"]) for part in UidSet.of(uids).split())
        async for event in session.pipeline(windows):             # several commands under way
            ...                                                   # Fetch, and Completed with .failure
        await session.idle(print)                                 # told of changes as they happen ...
        await session.done()                                      # ... until here; or `listen`, for NOTIFY

- `aio`: `connect` gives a `Session`: `run`, `stream`, `pipeline`, `idle`, `listen`, `done`, `log_in`,
  `log_in_with_token`, `log_out`, `usable`, `listening`, `capabilities`, `enabled`, `selected`, `greeting`,
  `state`, `encrypted`. Durations are the caller's: put `asyncio.timeout` around; a session that is
  interrupted closes itself.
- `commands`: one function for each command, arguments typed, folder names as raw bytes.
- `responses`: what comes back. `Fetch.body` is bytes, or a `framing.Spool` above `Limits.spool_over`.
- `uids.UidSet`, `names.decode` and `encode` (modified UTF-7), `dates`, `auth.choose`, `quirks.of`.
- `errors`: the tree, by what the caller should do next. OSError and ssl.SSLError pass through.
- `connection.Connection`: the state machine itself, for another loop than asyncio's. Under it:
  `framing` (whole responses), `parser` (typed values; never raises), `selected` (the open folder).
  Above it, for asyncio: `wire` (the protocol, with back-pressure) and `tls` (small buffers, STARTTLS).
"""
