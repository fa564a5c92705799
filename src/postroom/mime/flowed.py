"""Text in format=flowed (RFC 3676): lines that end in a space go on in the next line."""


def unflow(text: str, delete_space: bool) -> str:
    """Paragraphs on one line each. Quote depth is kept, a line `-- ` stays a signature's mark."""
    out: list[str] = []
    open_depth = -1  # quote depth of the paragraph that goes on, -1 for none
    pieces: list[str] = []
    for line in text.split("\n"):
        body = line.lstrip(">")
        depth = len(line) - len(body)
        if body[:1] == " ":
            body = body[1:]
        flows = body.endswith(" ") and body != "-- "
        if pieces and (depth != open_depth or body == "-- "):
            out.append("".join(pieces))
            pieces = []
        if not pieces:
            pieces.append(">" * depth + (" " if depth else ""))
        pieces.append(body[:-1] if flows and delete_space else body)
        open_depth = depth
        if not flows:
            out.append("".join(pieces))
            pieces = []
    if pieces:
        out.append("".join(pieces))
    return "\n".join(out)
