/* The native twin of `vector.document`: the words of a body with their places, as a tsvector on the wire.
 *
 *     text ──> words ─┬─ of plain characters: folded, cut and expanded here, as `fold` and `words` do it
 *                     └─ others (with marks, ligatures, emoji): Python does it, once while it remembers
 *
 * Its bytes are those of `encode_tsvector(document(...).vector)`; a property says so. A body that goes on
 * beyond the last position is left to Python.
 *
 * Nothing here takes more than linear time, or more memory than a fixed multiple of the text.
 */

#include "_lexemes.h"

enum {
    MAX_POSITION = 16383,
    MAX_TOKEN = 64,  /* characters of a word, as in words.py */
    MAX_WHOLE = 128, /* characters of an address or host */
    LONG_RUN = 2 * MAX_WHOLE,
    TOO_WIDE = MAX_POSITION + 2, /* places of what does not fit */
};

/* ---- words of plain characters, which fold one by one to one; Python tells them page by page ---- */

enum { UNKNOWN, OTHER, LETTER, JOINT, SPACELESS, NOT_PLAIN };

static uint8_t sorts[0x10000];   /* of what a character folds to */
static uint16_t folded[0x10000];

/* Characters 256 * page and on: of each 16 bits of what it folds to, then of each its sort. */
static int learn(PyObject *pages, long page)
{
    PyObject *told = PyObject_CallFunction(pages, "l", page);
    if (told == NULL)
        return -1;
    int is_page = PyBytes_Check(told) && PyBytes_GET_SIZE(told) == 256 * 3;
    if (is_page) {
        memcpy(folded + page * 256, PyBytes_AS_STRING(told), 256 * 2);
        memcpy(sorts + page * 256, PyBytes_AS_STRING(told) + 256 * 2, 256);
    } else
        PyErr_SetString(PyExc_TypeError, "a page is 768 bytes");
    Py_DECREF(told);
    return is_page ? 0 : -1;
}

/* Add a token of at most MAX_WHOLE characters. */
static int add_token(Table *table, const uint16_t *token, size_t length, long place)
{
    char letters[3 * MAX_WHOLE], *end = letters;
    for (size_t i = 0; i < length; i++) {
        uint16_t letter = token[i];
        if (letter < 0x80)
            *end++ = (char)letter;
        else {
            if (letter < 0x800)
                *end++ = (char)(0xc0 | letter >> 6);
            else {
                *end++ = (char)(0xe0 | letter >> 12);
                *end++ = (char)(0x80 | (letter >> 6 & 0x3f));
            }
            *end++ = (char)(0x80 | (letter & 0x3f));
        }
    }
    return add(table, letters, (size_t)(end - letters), place);
}

/* The whole of an address or host, and the host of the address. */
static int add_wholes(Table *table, const uint16_t *run, size_t length, long place)
{
    uint16_t bare[LONG_RUN];
    size_t bare_length = 0, host = 0, label = 0;
    int has_at = 0, has_dot = 0, is_odd = 0, digits = 1;
    if (length > LONG_RUN)
        return 0;
    for (size_t i = 0; i < length; i++)
        if (run[i] != '\'')
            bare[bare_length++] = run[i];
    for (size_t i = 0; i < bare_length; i++) {
        is_odd |= bare[i] == '_' || bare[i] == '+';
        if (bare[i] == '@') {
            has_at = 1;
            has_dot = 0;
            host = label = i + 1;
        } else if (bare[i] == '.') {
            has_dot = 1;
            label = i + 1;
        }
    }
    for (size_t i = label; i < bare_length; i++)
        digits &= Py_UNICODE_ISDIGIT(bare[i]);
    int named = has_dot && bare_length - label > 1 && !digits;
    int is_whole = (has_at || (named && !is_odd)) && bare_length <= MAX_WHOLE;
    if (is_whole && add_token(table, bare, bare_length, place))
        return -1;
    if (has_at && named && bare_length - host <= MAX_WHOLE)
        return add_token(table, bare + host, bare_length - host, place);
    return 0;
}

/* One atom of a run: the word without its apostrophes, and what stands between them. */
static int add_atom(Table *table, const uint16_t *atom, size_t length, long place)
{
    uint16_t word[MAX_TOKEN];
    size_t word_length = 0, begun = 0;
    int has_apostrophe = 0;
    for (size_t i = 0; i < length; i++) {
        if (atom[i] == '\'')
            has_apostrophe = 1;
        else if (word_length++ < MAX_TOKEN)
            word[word_length - 1] = atom[i];
    }
    if (word_length <= MAX_TOKEN && add_token(table, word, word_length, place))
        return -1;
    for (size_t i = 0; has_apostrophe && i <= length; i++) {
        if (i < length && atom[i] != '\'')
            continue;
        if (i - begun > 1 && i - begun <= MAX_TOKEN && add_token(table, atom + begun, i - begun, place))
            return -1;
        begun = i + 1;
    }
    return 0;
}

/* A run: words with a joint between each two. Returns how many places it takes, or -1. */
static long add_run(Table *table, const uint16_t *run, size_t length, long place)
{
    long parts = 0;
    size_t begun = 0;
    for (size_t i = 0; i <= length; i++) {
        if (i < length && (run[i] > '_' || strchr(".@_+-", run[i]) == NULL))
            continue;
        if (place + parts > MAX_POSITION)
            return TOO_WIDE;
        if (add_atom(table, run + begun, i - begun, place + parts))
            return -1;
        parts++;
        begun = i + 1;
    }
    if (parts > 1 && add_wholes(table, run, length, place))
        return -1;
    return parts;
}

/* A run without spaces: pairs, and the last character. */
static long add_spaceless(Table *table, const uint16_t *run, size_t length, long place)
{
    for (size_t i = 0; i < length; i++, place++) {
        if (place > MAX_POSITION)
            return TOO_WIDE;
        if (add_token(table, run + i, i + 1 < length ? 2 : 1, place))
            return -1;
    }
    return (long)length;
}

/* How far a run goes that begins here. */
static size_t end_of_run(const uint8_t *sort, size_t length, size_t at)
{
    uint8_t begun = sort[at];
    while (++at < length)
        if (sort[at] != begun) {
            int is_joint = begun == LETTER && sort[at] == JOINT;
            if (!is_joint || at + 1 == length || sort[at + 1] != LETTER)
                break;
        }
    return at;
}

/* Returns how many places the word takes, or -1. */
static long add_plain(Table *table, const uint16_t *word, const uint8_t *sort, size_t length, long place)
{
    long width = 0, took;
    for (size_t end, at = 0; at < length; at = end) {
        end = at + 1;
        if (sort[at] != LETTER && sort[at] != SPACELESS)
            continue;
        end = end_of_run(sort, length, at);
        took = (sort[at] == LETTER ? add_run : add_spaceless)(table, word + at, end - at, place + width);
        if (took < 0)
            return -1;
        width += took;
        if (place + width > MAX_POSITION + 1)
            return TOO_WIDE;
    }
    return width;
}

typedef struct {
    PyObject *text, *known, *met, *pages;
    uint16_t word[MAX_POSITION + 1];  /* folded */
    uint8_t sort[MAX_POSITION + 1];   /* of each character there */
} Body;

/* ---- other words, which Python has expanded: 16 bits of width, then of each token 16 of its distance, 16 of
 * its length in bytes, and these ---- */

static uint16_t number_at(const char *at)
{
    uint16_t number;
    memcpy(&number, at, sizeof number);
    return number;
}

static long add_expanded(Table *table, PyObject *expanded, long place)
{
    const char *at = PyBytes_AS_STRING(expanded), *end = at + PyBytes_GET_SIZE(expanded);
    long width = number_at(at);
    if (place + width > MAX_POSITION + 1)
        return TOO_WIDE;
    for (at += 2; at < end; at += 4 + number_at(at + 2))
        if (add(table, at + 4, number_at(at + 2), place + number_at(at)))
            return -1;
    return width;
}

/* Returns how many places the word takes, or -1. */
static long add_other(Table *table, const Body *body, Py_ssize_t from, Py_ssize_t to, long place)
{
    PyObject *word = PyUnicode_Substring(body->text, from, to);
    if (word == NULL)
        return -1;
    PyObject *expanded = PyDict_GetItemWithError(body->known, word);
    if (expanded != NULL)
        Py_INCREF(expanded);
    else if (!PyErr_Occurred())
        expanded = PyObject_CallOneArg(body->met, word);
    Py_DECREF(word);
    if (expanded == NULL)
        return -1;
    long width = -1;
    if (expanded == Py_None)
        width = TOO_WIDE;
    else if (PyBytes_CheckExact(expanded) && PyBytes_GET_SIZE(expanded) >= 2)
        width = add_expanded(table, expanded, place);
    else
        PyErr_SetString(PyExc_TypeError, "an expanded word is bytes or None");
    Py_DECREF(expanded);
    return width;
}

/* ---- a body ---- */

/* Fold the word at `*at` and go beyond it. Returns whether all its characters are plain, or -1. */
static int fold_word(Body *body, Py_ssize_t *at)
{
    int kind = PyUnicode_KIND(body->text), is_plain = 1;
    const void *data = PyUnicode_DATA(body->text);
    Py_ssize_t length = PyUnicode_GET_LENGTH(body->text), begun = *at;
    for (; *at < length && *at - begun <= MAX_POSITION; ++*at) {
        Py_UCS4 letter = PyUnicode_READ(kind, data, *at);
        if (Py_UNICODE_ISSPACE(letter))
            break;
        if (letter > 0xffff)
            is_plain = 0;
        else {
            if (sorts[letter] == UNKNOWN && learn(body->pages, letter >> 8))
                return -1;
            is_plain &= sorts[letter] != NOT_PLAIN;
            body->word[*at - begun] = folded[letter];
            body->sort[*at - begun] = sorts[letter];
        }
    }
    return is_plain;
}

/* Returns the place after the last word, TOO_WIDE or more where not all have room, or -1. */
static long add_body(Table *table, Body *body, long place)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(body->text), at = 0;
    while (at < length && place <= MAX_POSITION) {
        Py_ssize_t begun = at;
        int is_plain = fold_word(body, &at);
        if (is_plain < 0)
            return -1;
        if (at - begun > MAX_POSITION)
            return TOO_WIDE;
        long width = is_plain ? add_plain(table, body->word, body->sort, (size_t)(at - begun), place)
                              : add_other(table, body, begun, at, place);
        if (width < 0)
            return -1;
        place += width;
        at++;
    }
    return at < length ? TOO_WIDE : place;
}

/* ---- from and to Python ---- */

static int add_head(Table *table, PyObject *head)
{
    PyObject *token, *places;
    Py_ssize_t at = 0, length;
    while (PyDict_Next(head, &at, &token, &places)) {
        const char *letters = PyUnicode_AsUTF8AndSize(token, &length);
        if (letters == NULL)
            return -1;
        if (!PyList_Check(places) || memchr(letters, 0, (size_t)length) != NULL) {
            PyErr_SetString(PyExc_ValueError, "a lexeme holds no NUL character, and its places are a list");
            return -1;
        }
        if (lexeme_of(table, letters, (size_t)length) == NULL)
            return -1;
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(places); i++) {
            long place = PyLong_AsLong(PyList_GET_ITEM(places, i));
            if (place == -1 && PyErr_Occurred())
                return -1;
            if (add(table, letters, (size_t)length, place))
                return -1;
        }
    }
    return 0;
}

PyDoc_STRVAR(vector_doc,
    "vector(head, body, place, known, met, pages)\n--\n\n"
    "The tsvector of `head` and the words of `body` from `place` on, and whether lexemes had no room;\n"
    "None where the last position is too early. `met` expands a word that `known` does not hold, and\n"
    "`pages` tells what 256 characters fold to.");

static PyObject *vector(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count)
{
    if (count != 6 || !PyDict_Check(given[0]) || !PyUnicode_Check(given[1]) || !PyDict_Check(given[3])) {
        PyErr_SetString(PyExc_TypeError, "vector(head: dict, body: str, place, known: dict, met, pages)");
        return NULL;
    }
    long place = PyLong_AsLong(given[2]);
    if (place == -1 && PyErr_Occurred())
        return NULL;
    Table table = {0};
    PyObject *made = NULL;
    Body *body = malloc(sizeof *body);
    if (body == NULL)
        return PyErr_NoMemory();
    body->text = given[1];
    body->known = given[3];
    body->met = given[4];
    body->pages = given[5];
    if (begin_table(&table) == 0 && add_head(&table, given[0]) == 0)
        place = add_body(&table, body, place);
    if (!PyErr_Occurred())
        made = place >= TOO_WIDE ? Py_NewRef(Py_None) : encoded(&table);
    end_table(&table);
    free(body);
    return made;
}

static PyMethodDef functions[] = {
    {"vector", (PyCFunction)(void (*)(void))vector, METH_FASTCALL, vector_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_vector", .m_size = 0, .m_methods = functions,
};

PyMODINIT_FUNC PyInit__vector(void)
{
    PyObject *os = PyImport_ImportModule("os");
    PyObject *random = os ? PyObject_CallMethod(os, "urandom", "i", (int)sizeof secret) : NULL;
    Py_XDECREF(os);
    if (random == NULL || !PyBytes_Check(random) || PyBytes_GET_SIZE(random) != sizeof secret)
        return NULL;
    memcpy(secret, PyBytes_AS_STRING(random), sizeof secret);
    Py_DECREF(random);
    return PyModule_Create(&definition);
}
