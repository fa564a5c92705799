"""How much of a mail is read, and the words for what was wrong with it.

Strangers choose how large and how crooked a mail is. Whatever goes over a limit is left out and named in
`ParsedMessage.defects`; it is never an error, and the raw mail is kept elsewhere.

    address.ambiguous        an address list can be read in two ways; the stricter reading was taken
    addresses.too_many       the rest of the list was left out
    attachment.damaged       its base64 holds stray or missing characters
    boundary.guessed         a multipart did not name its boundary; one was found in its body
    boundary.missing         a multipart without any delimiter; its body was read as text
    boundary.unclosed        a multipart without its last delimiter
    charset.unknown          a charset that we do not know; the text was guessed
    charset.wrong            a text is not in the charset that it claims
    date.absurd              a date before 1970 or after 2100
    date.missing  date.no_zone  date.unreadable
    encoding.unknown         a content transfer encoding that we do not know; the bytes were taken as they are
    from.ambiguous           two From headers, or one that can be read in two ways
    from.missing
    headers.garbage          a line among the headers is none
    headers.no_blank_line    the body starts without an empty line
    headers.not_ascii        raw 8-bit headers
    headers.not_utf8         and those not even in UTF-8
    headers.too_long  headers.too_many
    html.truncated  text.truncated  calendar.too_many
    ids.too_many             of References or In-Reply-To only the first and the last were kept
    message_id.missing  message_id.repeated
    parts.too_deep  parts.too_many
    text.damaged             a text's base64 holds stray or missing characters
    text.nul                 NUL bytes; shown as U+FFFD
    tnef.unreadable          a winmail.dat that could not be read
"""

HEADER_BYTES = 256 << 10  # of one header block
HEADERS = 1_000
PARAMETERS = 200  # of one header
PARTS = 1_000
DEPTH = 100  # multiparts inside multiparts
ADDRESSES = 2_000  # of one header
IDS = 1_000  # of References, In-Reply-To
ID_CHARS = 998  # RFC 5322, 2.1.1: no line is longer
TEXT_CHARS = 1_000_000  # of all text parts together
HTML_CHARS = 1_000_000
TEXT_BYTES = 4 << 20  # of the encoded texts of one mail that are looked at at all
CALENDARS = 10
CALENDAR_CHARS = 200_000
NAME_CHARS = 200  # of a file name
BOUNDARY_BYTES = 998
PREVIEW_CHARS = 200
TNEF_BYTES = 8 << 20  # a larger winmail.dat is not opened
