"""The PostgreSQL that comes with postroom, for people who have none.

    command ──┐ a connection each        one per data folder          dropped to an
    command ──┼───────────────────▶ keeper ───────────────▶ postgres   unprivileged user
    up ───────┘ to keeper.sock      (keeper.py)   child                when we are root

Whoever needs the server connects to its keeper, and starts one where none answers. When the last one is
gone, however it went, the keeper shuts PostgreSQL down and ends; when the keeper is killed, the kernel
tells PostgreSQL to shut down. So no command stops the server under another, and none leaves it behind.

    <data>/.postroom           says that the folder is ours
    <data>/postgres/lock       flock: held by the keeper and by every process of PostgreSQL
    <data>/postgres/keeper.sock
    <data>/postgres/log        of the keeper and of PostgreSQL
    <data>/postgres/cluster/   PostgreSQL's own files and its socket

Processes reach these folders through descriptors (`/proc/self/fd/7`), not by their paths. So the
unprivileged user needs no right on any folder above, the folder may be below /root, and a path may be longer
than the 107 bytes that a socket's name can have.
"""
