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
    GAP = 2,                     /* between fields, so that no phrase crosses from one into the next */
    MAX_MARK = 8,
};

typedef struct {
    Table table;
    PyObject *text; /* what is read, and under which mark and weight */
    const char *mark;
    size_t mark_length;
    uint16_t weight;
    PyObject *known, *met, *pages;
    uint16_t word[MAX_POSITION + 1]; /* folded */
    uint8_t sort[MAX_POSITION + 1];  /* of each character there */
} Reading;

/* Add a token, also under the mark. None has more than MAX_WHOLE characters. */
static int add_token(Reading *reading, const char *token, size_t length, long place)
{
    char marked[MAX_MARK + 4 * MAX_WHOLE];
    uint16_t weighed = (uint16_t)(reading->weight | place);
    if (add(&reading->table, token, length, weighed))
        return -1;
    if (!reading->mark_length || length > 4 * MAX_WHOLE)
        return 0;
    memcpy(marked, reading->mark, reading->mark_length);
    memcpy(marked + reading->mark_length, token, length);
    return add(&reading->table, marked, reading->mark_length + length, weighed);
}

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
static int add_plain_token(Reading *reading, const uint16_t *token, size_t length, long place)
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
    return add_token(reading, letters, (size_t)(end - letters), place);
}

/* The whole of an address or host, and the host of the address. */
static int add_wholes(Reading *reading, const uint16_t *run, size_t length, long place)
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
    if (is_whole && add_plain_token(reading, bare, bare_length, place))
        return -1;
    if (has_at && named && bare_length - host <= MAX_WHOLE)
        return add_plain_token(reading, bare + host, bare_length - host, place);
    return 0;
}

/* One atom of a run: the word without its apostrophes, and what stands between them. */
static int add_atom(Reading *reading, const uint16_t *atom, size_t length, long place)
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
    if (word_length <= MAX_TOKEN && add_plain_token(reading, word, word_length, place))
        return -1;
    for (size_t i = 0; has_apostrophe && i <= length; i++) {
        if (i < length && atom[i] != '\'')
            continue;
        int is_word = i - begun > 1 && i - begun <= MAX_TOKEN;
        if (is_word && add_plain_token(reading, atom + begun, i - begun, place))
            return -1;
        begun = i + 1;
    }
    return 0;
}

/* A run: words with a joint between each two. Returns how many places it takes, or -1. */
static long add_run(Reading *reading, const uint16_t *run, size_t length, long place)
{
    long parts = 0;
    size_t begun = 0;
    for (size_t i = 0; i <= length; i++) {
        if (i < length && (run[i] > '_' || strchr(".@_+-", run[i]) == NULL))
            continue;
        if (place + parts > MAX_POSITION)
            return TOO_WIDE;
        if (add_atom(reading, run + begun, i - begun, place + parts))
            return -1;
        parts++;
        begun = i + 1;
    }
    if (parts > 1 && add_wholes(reading, run, length, place))
        return -1;
    return parts;
}

/* A run without spaces: pairs, and the last character. */
static long add_spaceless(Reading *reading, const uint16_t *run, size_t length, long place)
{
    for (size_t i = 0; i < length; i++, place++) {
        if (place > MAX_POSITION)
            return TOO_WIDE;
        if (add_plain_token(reading, run + i, i + 1 < length ? 2 : 1, place))
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
static long add_plain(Reading *reading, const uint16_t *word, const uint8_t *sort, size_t length, long place)
{
    long width = 0, took;
    for (size_t end, at = 0; at < length; at = end) {
        end = at + 1;
        if (sort[at] != LETTER && sort[at] != SPACELESS)
            continue;
        end = end_of_run(sort, length, at);
        took = (sort[at] == LETTER ? add_run : add_spaceless)(reading, word + at, end - at, place + width);
        if (took < 0)
            return -1;
        width += took;
        if (place + width > MAX_POSITION + 1)
            return TOO_WIDE;
    }
    return width;
}

/* ---- other words, which Python has expanded: 16 bits of width, then of each token 16 of its distance, 16 of
 * its length in bytes, and these ---- */

static uint16_t number_at(const char *at)
{
    uint16_t number;
    memcpy(&number, at, sizeof number);
    return number;
}

static long add_expanded(Reading *reading, PyObject *expanded, long place)
{
    const char *at = PyBytes_AS_STRING(expanded), *end = at + PyBytes_GET_SIZE(expanded);
    long width = number_at(at);
    if (place + width > MAX_POSITION + 1)
        return TOO_WIDE;
    for (at += 2; at < end; at += 4 + number_at(at + 2))
        if (add_token(reading, at + 4, number_at(at + 2), place + number_at(at)))
            return -1;
    return width;
}

/* Returns how many places the word takes, or -1. */
static long add_other(Reading *reading, Py_ssize_t from, Py_ssize_t to, long place)
{
    PyObject *word = PyUnicode_Substring(reading->text, from, to);
    if (word == NULL)
        return -1;
    PyObject *expanded = PyDict_GetItemWithError(reading->known, word);
    if (expanded != NULL)
        Py_INCREF(expanded);
    else if (!PyErr_Occurred())
        expanded = PyObject_CallOneArg(reading->met, word);
    Py_DECREF(word);
    if (expanded == NULL)
        return -1;
    long width = -1;
    if (expanded == Py_None)
        width = TOO_WIDE;
    else if (PyBytes_CheckExact(expanded) && PyBytes_GET_SIZE(expanded) >= 2)
        width = add_expanded(reading, expanded, place);
    else
        PyErr_SetString(PyExc_TypeError, "an expanded word is bytes or None");
    Py_DECREF(expanded);
    return width;
}

/* ---- a text ---- */

/* Fold the word at `*at` and go beyond it. Returns whether all its characters are plain, or -1. */
static int fold_word(Reading *reading, Py_ssize_t *at)
{
    int kind = PyUnicode_KIND(reading->text), is_plain = 1;
    const void *data = PyUnicode_DATA(reading->text);
    Py_ssize_t length = PyUnicode_GET_LENGTH(reading->text), begun = *at;
    for (; *at < length && *at - begun <= MAX_POSITION; ++*at) {
        Py_UCS4 letter = PyUnicode_READ(kind, data, *at);
        if (Py_UNICODE_ISSPACE(letter))
            break;
        if (letter > 0xffff)
            is_plain = 0;
        else {
            if (sorts[letter] == UNKNOWN && learn(reading->pages, letter >> 8))
                return -1;
            is_plain &= sorts[letter] != NOT_PLAIN;
            reading->word[*at - begun] = folded[letter];
            reading->sort[*at - begun] = sorts[letter];
        }
    }
    return is_plain;
}

/* Returns the place after the last word, TOO_WIDE or more where not all have room, or -1. */
static long add_text(Reading *reading, long place)
{
    Py_ssize_t length = PyUnicode_GET_LENGTH(reading->text), at = 0;
    while (at < length && place <= MAX_POSITION) {
        Py_ssize_t begun = at;
        int is_plain = fold_word(reading, &at);
        if (is_plain < 0)
            return -1;
        if (at - begun > MAX_POSITION)
            return TOO_WIDE;
        long width = is_plain ? add_plain(reading, reading->word, reading->sort, (size_t)(at - begun), place)
                              : add_other(reading, begun, at, place);
        if (width < 0)
            return -1;
        place += width;
        at++;
    }
    return at < length ? TOO_WIDE : place;
}

/* ---- from and to Python ---- */

/* Lexemes of our own, without a place. */
static int add_facts(Reading *reading, PyObject *facts)
{
    Py_ssize_t length;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(facts); i++) {
        const char *letters = PyUnicode_AsUTF8AndSize(PyList_GET_ITEM(facts, i), &length);
        if (letters == NULL)
            return -1;
        if (memchr(letters, 0, (size_t)length) != NULL) {
            PyErr_SetString(PyExc_ValueError, "a lexeme cannot hold a NUL character");
            return -1;
        }
        if (lexeme_of(&reading->table, letters, (size_t)length) == NULL)
            return -1;
    }
    return 0;
}

/* Returns the place after the last text, TOO_WIDE or more where not all words have room, or -1. */
static long add_texts(Reading *reading, PyObject *texts)
{
    long place = 1;
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(texts) && place < TOO_WIDE; i++) {
        Py_ssize_t length;
        if (!PyArg_ParseTuple(PyList_GET_ITEM(texts, i), "Us#H", &reading->text, &reading->mark, &length,
                              &reading->weight))
            return -1;
        if (length > MAX_MARK) {
            PyErr_SetString(PyExc_ValueError, "a mark is short");
            return -1;
        }
        reading->mark_length = (size_t)length;
        if ((place = add_text(reading, place)) < 0)
            return -1;
        if (i + 1 < PyList_GET_SIZE(texts))
            place += GAP;
    }
    return place;
}

PyDoc_STRVAR(vector_doc,
    "vector(facts, texts, known, met, pages)\n--\n\n"
    "The tsvector of facts and texts (each with its mark and weight), and whether lexemes had no room;\n"
    "None where the last position is too early. `met` expands a word that `known` does not hold, and\n"
    "`pages` tells what 256 characters fold to.");

static PyObject *vector(PyObject *Py_UNUSED(module), PyObject *const *given, Py_ssize_t count)
{
    if (count != 5 || !PyList_Check(given[0]) || !PyList_Check(given[1]) || !PyDict_Check(given[2])) {
        PyErr_SetString(PyExc_TypeError, "vector(facts: list, texts: list, known: dict, met, pages)");
        return NULL;
    }
    Reading *reading = malloc(sizeof *reading);
    if (reading == NULL)
        return PyErr_NoMemory();
    memset(&reading->table, 0, sizeof reading->table);
    reading->known = given[2];
    reading->met = given[3];
    reading->pages = given[4];
    PyObject *made = NULL;
    if (begin_table(&reading->table) == 0 && add_facts(reading, given[0]) == 0) {
        long place = add_texts(reading, given[1]);
        if (place >= 0)
            made = place >= TOO_WIDE ? Py_NewRef(Py_None) : encoded(&reading->table);
    }
    end_table(&reading->table);
    free(reading);
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
