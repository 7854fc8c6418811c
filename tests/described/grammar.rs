//! What statements are made of: types with their literals, tables, and a template for each construct.
//!
//! A line of a table of templates is the type of the result, or a class of types, and the text. In the text, `{int4}` stands for an
//! expression of that type, `{number}` for one of any type of that class, `{T}` for one of the result's type, `{X}` for one of a type that
//! is chosen once for the whole template, and `{NAME}` for the result's type as a cast writes it. What stands at `{=…}` is never without a
//! type of its own, as a parameter is, or a bare string: PostgreSQL would not know what it is.

/// A type: its name here, as it is declared, and literals of it.
pub struct Kind {
    pub name: &'static str,
    pub declared: &'static str,
    pub values: &'static [&'static str],
}

const fn kind(name: &'static str, declared: &'static str, values: &'static [&'static str]) -> Kind {
    Kind { name, declared, values }
}

pub const KINDS: &[Kind] = &[
    kind("int2", "int2", &["0", "7"]),
    kind("int4", "int4", &["0", "7"]),
    kind("int8", "int8", &["0", "8"]),
    kind("numeric", "numeric", &["1.5", "0.10"]),
    kind("money", "numeric(10,2)", &["1.50", "7"]),
    kind("float4", "float4", &["0.5"]),
    kind("float8", "float8", &["0.5", "7"]),
    kind("text", "text", &["", "ab", "7"]),
    kind("varchar", "varchar(10)", &["ab"]),
    kind("bpchar", "char(5)", &["ab"]),
    kind("bool", "bool", &["t", "off"]),
    kind("bytea", "bytea", &["\\x00ff"]),
    kind("date", "date", &["2024-02-29"]),
    kind("time", "time", &["12:34:56"]),
    kind("timestamp", "timestamp", &["2024-02-29 12:34:56"]),
    kind("timestamptz", "timestamptz", &["2024-02-29 12:34:56+02"]),
    kind("interval", "interval", &["1 day 02:03:00"]),
    kind("uuid", "uuid", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    kind("json", "json", &["{\"a\": 1}"]),
    kind("jsonb", "jsonb", &["[1, 2]"]),
    kind("ints", "int4[]", &["{1,2}"]),
    kind("texts", "text[]", &["{a,b}"]),
];

/// Names that stand for any of several types.
pub const CLASSES: &[(&str, &[&str])] = &[
    ("integer", &["int2", "int4", "int8"]),
    ("exact", &["int2", "int4", "int8", "numeric", "money"]),
    ("number", &["int2", "int4", "int8", "numeric", "money", "float4", "float8"]),
    ("string", &["text", "varchar", "bpchar"]),
    ("moment", &["date", "timestamp", "timestamptz"]),
    ("array", &["ints", "texts"]),
    (
        "ordered",
        &[
            "int2",
            "int4",
            "int8",
            "numeric",
            "money",
            "float4",
            "float8",
            "text",
            "varchar",
            "bpchar",
            "bool",
            "bytea",
            "date",
            "time",
            "timestamp",
            "timestamptz",
            "interval",
            "uuid",
            "ints",
            "texts",
        ],
    ),
];

/// Tables with their columns. Some names are in both, also with other types of the same class, for USING and NATURAL.
pub const TABLES: &[(&str, &[(&str, &str)])] = &[
    (
        "t",
        &[
            ("id", "int4"),
            ("s", "int2"),
            ("i", "int4"),
            ("l", "int8"),
            ("n", "numeric"),
            ("m", "money"),
            ("r", "float4"),
            ("f", "float8"),
            ("x", "text"),
            ("v", "varchar"),
            ("c", "bpchar"),
            ("o", "bool"),
            ("y", "bytea"),
            ("d", "date"),
            ("h", "time"),
            ("p", "timestamp"),
            ("z", "timestamptz"),
            ("w", "interval"),
            ("g", "uuid"),
            ("j", "json"),
            ("k", "jsonb"),
            ("a", "ints"),
            ("b", "texts"),
        ],
    ),
    (
        "u",
        &[
            ("id", "int4"),
            ("i", "int8"),
            ("n", "int4"),
            ("m", "money"),
            ("f", "float4"),
            ("x", "varchar"),
            ("v", "text"),
            ("c", "bpchar"),
            ("d", "timestamp"),
            ("p", "timestamptz"),
            ("o", "bool"),
            ("a", "ints"),
        ],
    ),
];

pub const EXPRESSIONS: &str = "
any         CASE WHEN {bool} THEN {T} ELSE {T} END
any         CASE WHEN {bool} THEN {T} WHEN {bool} THEN {T} END
any         CASE {=X} WHEN {X} THEN {T} WHEN {X} THEN {T} ELSE {T} END
any         coalesce({T}, {T})
any         coalesce({T}, {T}, {T})
any         {T}::{NAME}
any         CAST({T} AS {NAME})
any         {text}::{NAME}
ordered     nullif({T}, {T})
ordered     greatest({T}, {T})
ordered     least({T}, {T}, {T})

integer     {T} + {T}
integer     {T} - {T}
integer     {T} * {T}
integer     {T} / {T}
integer     {T} % {T}
integer     - {=T}
integer     + {=T}
integer     ~ {=T}
integer     {T} & {T}
integer     {T} | {T}
integer     {T} # {T}
integer     {T} << {int4}
integer     {T} >> {int4}
integer     mod({T}, {T})
number      abs({T})
number      {number}::{NAME}
int4        length({string})
int4        char_length({string})
int4        octet_length({string})
int4        bit_length({string})
int4        length({=bytea})
int4        octet_length({=bytea})
int4        ascii({string})
int4        strpos({string}, {string})
int4        position({string} IN {string})
int4        {date} - {date}
int4        {bool}::int4
int4        cardinality({=array})
int4        array_length({=array}, {int4})
int4        array_upper({=array}, 1)
int4        ({=ints})[1]
int4        ({=ints})[{int4}]
int4        scale({numeric})
numeric     {exact} + {numeric}
numeric     {numeric} - {exact}
numeric     {exact} * {numeric}
numeric     {numeric} / {exact}
numeric     {numeric} % {exact}
numeric     - {=numeric}
numeric     {numeric} ^ {exact}
numeric     round({numeric})
numeric     round({numeric}, {int4})
numeric     trunc({numeric}, 1)
numeric     trunc({=numeric})
numeric     ceil({numeric})
numeric     floor({exact})
numeric     sign({numeric})
numeric     sqrt({numeric})
numeric     power({numeric}, {numeric})
numeric     exp({numeric})
numeric     ln({numeric})
numeric     log({numeric}, {numeric})
numeric     div({numeric}, {exact})
numeric     mod({numeric}, {exact})
numeric     extract(year FROM {=moment})
numeric     extract(epoch FROM {=interval})
numeric     extract(hour FROM {=timestamp})
float8      {float8} + {number}
float8      {number} - {float8}
float8      {float8} * {float4}
float8      {float8} / {number}
float8      - {=float8}
float8      {number} ^ {float8}
float8      round({float8})
float8      floor({float8})
float8      sqrt({number})
float8      power({float8}, {number})
float8      exp({float8})
float8      ln({number})
float8      sin({number})
float8      atan2({float8}, {number})
float8      degrees({float8})
float8      pi()
float8      date_part('year', {=moment})
float4      {float4} + {float4}
float4      {float4} * {float4}
float4      - {=float4}

text        {string} || {string}
text        {string} || {=int4}
text        {=numeric} || {string}
text        {string} || {=X}
text        upper({string})
text        lower({string})
text        initcap({string})
text        trim({string})
text        btrim({string}, {string})
text        ltrim({string})
text        rtrim({string}, 'b ')
text        trim(leading {string} FROM {string})
text        substr({string}, {int4})
text        substr({string}, {int4}, {int4})
text        substring({string} FROM {int4})
text        substring({string} FROM {int4} FOR {int4})
text        left({string}, {int4})
text        right({string}, {int4})
text        lpad({string}, {int4})
text        lpad({string}, {int4}, {string})
text        rpad({string}, {int4}, {string})
text        replace({string}, {string}, {string})
text        translate({string}, {string}, {string})
text        repeat({string}, {int4})
text        reverse({string})
text        split_part({string}, {string}, {int4})
text        md5({string})
text        chr({int4})
text        to_hex({=int4})
text        to_hex({=int8})
text        quote_literal({string})
text        regexp_replace({string}, {string}, {string})
text        concat({X}, {string})
text        concat_ws({string}, {X}, {number})
text        format({string}, {X})
text        to_char({=moment}, {string})
text        array_to_string({=array}, {string})
text        ({=texts})[{int4}]
text        {X}::text
varchar     {string}::varchar(3)
varchar     {string}::varchar
bpchar      {string}::char(2)
bpchar      {string}::bpchar
bpchar      {string}::char
money       {number}::numeric(10,2)
numeric     {number}::numeric(7,3)

date        {=date} + {=int4}
date        {=int4} + {date}
date        {=date} - {=int4}
date        {timestamp}::date
date        make_date({int4}, {int4}, {int4})
time        {=time} + {=interval}
time        {=time} - {=interval}
time        {timestamp}::time
timestamp   {=date} + {=interval}
timestamp   {=date} - {=interval}
timestamp   {=timestamp} + {interval}
timestamp   {interval} + {=timestamp}
timestamp   {=timestamp} - {=interval}
timestamp   {=date} + {=time}
timestamp   date_trunc({text}, {=timestamp})
timestamp   date_trunc('month', {=timestamp})
timestamp   {=timestamptz} AT TIME ZONE {text}
timestamptz {=timestamptz} + {interval}
timestamptz {=timestamptz} - {=interval}
timestamptz date_trunc('day', {=timestamptz})
timestamptz {=timestamp} AT TIME ZONE 'Europe/Warsaw'
interval    {interval} + {interval}
interval    {interval} - {interval}
interval    {=interval} * {float8}
interval    {float8} * {=interval}
interval    {=interval} / {float8}
interval    - {=interval}
interval    {timestamp} - {timestamp}
interval    {timestamptz} - {timestamptz}
interval    {date} - {=timestamp}
interval    {time} - {time}
interval    age({=timestamp}, {timestamp})
bytea       {=bytea} || {bytea}
bytea       substr({=bytea}, {int4})
ints        ARRAY[{int4}, {int4}]
ints        ARRAY[{int4}, {int4}]::int4[]
ints        {=ints} || {int4}
ints        {int4} || {=ints}
ints        {ints} || {ints}
ints        array_remove({=ints}, {int4})
texts       ARRAY[{text}, {string}]
texts       {=texts} || {=text}
texts       {texts} || {texts}

bool        {X} = {X}
bool        {X} <> {X}
bool        {X} < {X}
bool        {X} >= {X}
bool        {number} = {number}
bool        {number} < {number}
bool        {string} = {string}
bool        {string} <= {string}
bool        {moment} = {moment}
bool        {moment} > {moment}
bool        {=X} IS NULL
bool        {=X} IS NOT NULL
bool        {X} IS DISTINCT FROM {X}
bool        {number} IS NOT DISTINCT FROM {number}
bool        {X} BETWEEN {X} AND {X}
bool        {number} NOT BETWEEN {number} AND {number}
bool        {X} IN ({X})
bool        {X} IN ({X}, {X}, {X})
bool        {number} IN (1, {number})
bool        {string} NOT IN ({string}, {string})
bool        {X} = ANY (ARRAY[{X}, {X}])
bool        {int4} = ANY ({ints})
bool        {number} > ALL ({=ints})
bool        {string} = ANY ({texts})
bool        {string} <> ALL ({texts})
bool        {bool} AND {bool}
bool        {bool} OR {bool}
bool        NOT {bool}
bool        {bool} IS TRUE
bool        {bool} IS NOT FALSE
bool        {bool} IS UNKNOWN
bool        {string} LIKE {string}
bool        {string} NOT LIKE 'a%'
bool        {string} ILIKE {string}
bool        {string} LIKE {string} ESCAPE '!'
bool        {string} ~ {string}
bool        {string} !~* 'b'
bool        {ints} @> {ints}
bool        {texts} <@ {texts}
bool        starts_with({string}, {string})
";

pub const AGGREGATES: &str = "
int8        count(*)
int8        count({X})
int8        count(DISTINCT {X})
int8        sum({=int2})
int8        sum({=int4})
numeric     sum({=int8})
numeric     sum({=numeric})
numeric     sum(DISTINCT {=money})
float8      sum({=float8})
float4      sum({=float4})
interval    sum({=interval})
numeric     avg({=exact})
float8      avg({=float8})
interval    avg({=interval})
numeric     stddev({=exact})
float8      variance({=float8})
number      min({=T})
number      max({=T})
string      max({=T})
moment      min({=T})
interval    max({=interval})
bool        bool_and({bool})
bool        bool_or({bool})
bool        every({bool})
";
