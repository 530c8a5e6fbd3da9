/*
 * format.c - the formats of JSON Schema as patterns (RFC 3339, 3986, 4122, 5321, 6570, 6901, 1123, 4291). Names that a schema's draft
 * does not define assert nothing, as the drafts say. What nests without end is cut off: a "regex" has groups three deep, what
 * all dialects understand, and ranges that start or end where letters or digits do.
 */
#include "runtime/constraint/conjunction.h"

#include <string.h>

#define YEAR "(?:[1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])"
#define LEAP_YEAR                                                                                                      \
    "(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
#define DATE                                                                                                           \
    "(?:" YEAR "-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"                \
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))|" LEAP_YEAR "-02-29)"
#define CLOCK "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
#define TIME CLOCK ":[0-5][0-9](?:\\.[0-9]+)?(?:[Zz]|[+-]" CLOCK ")"
/* ISO 8601's, of which RFC 3339 has a part: units may be left out, and the last may have decimals. */
#define WHOLE(unit) "(?:[0-9]+" unit ")?"
#define LAST(unit) "[0-9]+(?:\\.[0-9]+)?" unit
#define DURATION_DATE WHOLE("Y") WHOLE("M") LAST("D") "|" WHOLE("Y") LAST("M") "|" LAST("Y") "|" LAST("W")
#define DURATION_TIME WHOLE("H") WHOLE("M") LAST("S") "|" WHOLE("H") LAST("M") "|" LAST("H")
#define LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define HOSTNAME LABEL "(?:\\." LABEL ")*"
#define EMAIL_ATOM "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
#define EMAIL_QUOTED "\"(?:[\\x20!#-\\[\\]-~]|\\\\[\\x20-~])*\""
#define OCTET "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
#define IPV4 OCTET "(?:\\." OCTET "){3}"
#define H16 "[0-9A-Fa-f]{1,4}"
#define LS32 "(?:" H16 ":" H16 "|" IPV4 ")"
#define IPV6                                                                                                           \
    "(?:(?:" H16 ":){6}" LS32 "|::(?:" H16 ":){5}" LS32 "|(?:" H16 ")?::(?:" H16 ":){4}" LS32 "|(?:(?:" H16            \
    ":){0,1}" H16 ")?::(?:" H16 ":){3}" LS32 "|(?:(?:" H16 ":){0,2}" H16 ")?::(?:" H16 ":){2}" LS32 "|(?:(?:" H16      \
    ":){0,3}" H16 ")?::" H16 ":" LS32 "|(?:(?:" H16 ":){0,4}" H16 ")?::" LS32 "|(?:(?:" H16 ":){0,5}" H16 ")?::" H16   \
    "|(?:(?:" H16 ":){0,6}" H16 ")?::)"
#define SCHEME "[A-Za-z][A-Za-z0-9+.-]*:"
#define PERCENT "%[0-9A-Fa-f]{2}"
/* `x` adds what an IRI allows beyond a URI. */
#define UNRESERVED(x) "-A-Za-z0-9._~!$&'()*+,;=" x
#define PCHAR(x) "(?:[" UNRESERVED(x) ":@]|" PERCENT ")"
#define AUTHORITY(x)                                                                                                   \
    "(?:(?:[" UNRESERVED(x) ":]|" PERCENT ")*@)?(?:\\[[0-9A-Fa-f:.]+\\]|(?:[" UNRESERVED(x) "]|" PERCENT ")*)(?::[0-9]*)?"
#define TAIL(x) "(?:\\?(?:" PCHAR(x) "|[/?])*)?(?:#(?:" PCHAR(x) "|[/?])*)?"
#define URI(x)                                                                                                         \
    SCHEME "(?://" AUTHORITY(x) "(?:/" PCHAR(x) "*)*|/(?:" PCHAR(x) "+(?:/" PCHAR(x) "*)*)?|" PCHAR(x) "+(?:/" PCHAR(x)  \
        "*)*)?" TAIL(x)
#define RELATIVE(x)                                                                                                    \
    "(?://" AUTHORITY(x) "(?:/" PCHAR(x) "*)*|/(?:" PCHAR(x) "+(?:/" PCHAR(x) "*)*)?|(?:[" UNRESERVED(x) "@]|" PERCENT   \
        ")+(?:/" PCHAR(x) "*)*)?" TAIL(x)
#define IRI_MORE "\\u00a0-\\ud7ff\\uf900-\\ufdcf\\ufdf0-\\uffef\\U00010000-\\U000efffd"
#define POINTER "(?:/(?:[^~/]|~[01])*)*"
/* Which internationalized labels are valid is a book of tables and rules (RFC 5891 to 5893); these scripts have none, and labels of so
 * few of their letters fit into 63 octets however they are encoded. */
#define IDN_LETTER                                                                                                     \
    "a-z0-9\\u00df-\\u00f6\\u00f8-\\u00ff\\u03ac-\\u03c1\\u03c3-\\u03ce\\u0430-\\u045f\\u3041-\\u3096\\u30a1-\\u30fa\\u4e00-\\u9fef"     \
    "\\uac00-\\ud7a3"
#define IDN_LABEL "(?:" LABEL "|[" IDN_LETTER "](?:-?[" IDN_LETTER "]){0,9})"
#define IDN_HOSTNAME "(?!..--|.*\\...--)" IDN_LABEL "(?:\\." IDN_LABEL ")*"

#define REGEX_ESCAPE "\\\\[dDsSwWbtnrfv.^$|?*+()\\[\\]{}/\\\\-]"
#define REGEX_RANGE "0-[0-9]|[0-9]-9|a-[a-z]|[a-z]-z|A-[A-Z]|[A-Z]-Z"
#define REGEX_MEMBER "(?:[^\\\\\\]^&~|-]|" REGEX_RANGE "|\\\\[dDsSwWtnrfv.^$|?*+()\\[\\]{}/\\\\-])"
#define REGEX_CLASS "\\[\\^?" REGEX_MEMBER "+-?\\]"
#define REGEX_COUNT                                                                                                    \
    "\\{(?:[0-9]{1,3},?|[0-9],[1-9][0-9]{1,2}|0,[0-9]|1,[1-9]|2,[2-9]|3,[3-9]|4,[4-9]|5,[5-9]|6,[6-9]|7,[7-9]|8,[89])\\}"
#define REGEX_TIMES "(?:(?:[*+?]|" REGEX_COUNT ")[?]?)?"
#define REGEX_ATOM "(?:[^\\\\^$.|?*+()\\[\\]{}]|\\.|" REGEX_ESCAPE "|" REGEX_CLASS ")"
#define REGEX_0 "(?:" REGEX_ATOM REGEX_TIMES "|[$^|])*"
#define REGEX_AROUND(inner) "(?:" REGEX_ATOM REGEX_TIMES "|[$^|]|\\((?:\\?[:=!])?" inner "\\)" REGEX_TIMES ")*"

typedef struct Format {
    const char *name;
    SchemaDraft first; /* that knows it: "regex" and "idn-email" are of draft 7, but Python's jsonschema asserts them before */
    const char *pattern;
} Format;

static const Format formats[] = {
    {"date", SCHEMA_DRAFT_7, DATE},
    {"time", SCHEMA_DRAFT_7, TIME},
    {"date-time", SCHEMA_DRAFT_4, DATE "[Tt]" TIME},
    {"duration", SCHEMA_DRAFT_2019,
     "P(?:" DURATION_DATE "|" WHOLE("Y") WHOLE("M") WHOLE("D") "T(?:" DURATION_TIME "))"},
    {"email", SCHEMA_DRAFT_4,
     "(?:" EMAIL_ATOM "(?:\\." EMAIL_ATOM ")*|" EMAIL_QUOTED ")@(?:" HOSTNAME "|\\[(?:" IPV4 "|IPv6:" IPV6 ")\\])"},
    {"idn-email", SCHEMA_DRAFT_4, "[^\\s@\"(),:;<>\\[\\]\\\\]+@" IDN_HOSTNAME},
    {"hostname", SCHEMA_DRAFT_4, HOSTNAME},
    {"idn-hostname", SCHEMA_DRAFT_7, IDN_HOSTNAME},
    {"ipv4", SCHEMA_DRAFT_4, IPV4},
    {"ipv6", SCHEMA_DRAFT_4, IPV6},
    {"uri", SCHEMA_DRAFT_4, URI("")},
    {"uri-reference", SCHEMA_DRAFT_6, "(?:" URI("") "|" RELATIVE("") ")"},
    {"iri", SCHEMA_DRAFT_7, URI(IRI_MORE)},
    {"iri-reference", SCHEMA_DRAFT_7, "(?:" URI(IRI_MORE) "|" RELATIVE(IRI_MORE) ")"},
    {"uuid", SCHEMA_DRAFT_2019, "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"},
    {"uri-template", SCHEMA_DRAFT_6,
     "(?:[^\\x00-\\x20\"'%<>\\\\^`{|}]|" PERCENT "|\\{[+#./;?&=,!@|]?[A-Za-z0-9_%.]+(?::[1-9][0-9]{0,3}|\\*)?"
     "(?:,[A-Za-z0-9_%.]+(?::[1-9][0-9]{0,3}|\\*)?)*\\})*"},
    {"regex", SCHEMA_DRAFT_4, REGEX_AROUND(REGEX_AROUND(REGEX_AROUND(REGEX_0)))},
    {"json-pointer", SCHEMA_DRAFT_6, POINTER},
    /* No digit behind a 0: Python's jsonschema reads "101#" as having a leading zero. */
    {"relative-json-pointer", SCHEMA_DRAFT_7, "(?:0|[1-9]+0?)(?:#|" POINTER ")"},
};

const char *format_pattern(const char *name, SchemaDraft draft)
{
    for (size_t i = 0; i < sizeof formats / sizeof formats[0]; i++) {
        if (strcmp(formats[i].name, name) == 0) return draft >= formats[i].first ? formats[i].pattern : NULL;
    }
    return NULL;
}
