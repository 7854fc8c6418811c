"""What expressions are made of: types with their literals, and one template per operator, function, aggregate and window function.

A line of a table below is the type of the result, or a class of types, and a template. In a template, `{int4}` stands for an expression
of that type, `{number}` for one of any type of that class, `{T}` for one of the result's type, and `{X}` for one of a type that is chosen
once for the whole template; each of these may turn out to be of another type that fits. `{X!}` is a literal with its type, `{X?}` one as a
bare string, whose type is what the place asks for, `{=X}` an expression of that type exactly, and `{1}` the first place's once more.
"""

# As declared in tables and casts.
NAMES = {
    "int2": "smallint",
    "int4": "int",
    "int8": "bigint",
    "numeric": "numeric",
    "money": "numeric(10,2)",
    "float4": "real",
    "float8": "float8",
    "text": "text",
    "varchar": "varchar(5)",
    "bpchar": "char(4)",
    "date": "date",
    "timestamp": "timestamp",
    "timestamptz": "timestamptz",
    "interval": "interval",
    "bool": "bool",
    "jsonb": "jsonb",
    "ints": "int[]",
    "texts": "text[]",
    "uuid": "uuid",
    "bytea": "bytea",
}

CLASSES = {
    "integer": ["int2", "int4", "int8"],
    "exact": ["int2", "int4", "int8", "numeric", "money"],
    "number": ["int2", "int4", "int8", "numeric", "money", "float4", "float8"],
    "string": ["text", "varchar", "bpchar"],
    "moment": ["date", "timestamp", "timestamptz"],
    "array": ["ints", "texts"],
    "ordered": [name for name in NAMES if name != "jsonb"],
    "any": list(NAMES),
}

# Types that have a common one.
FAMILIES = [CLASSES["number"], CLASSES["string"], CLASSES["moment"]]

# Types that a place of this type takes, too.
NARROWER = {
    "int4": ["int2"],
    "int8": ["int2", "int4"],
    "numeric": ["int2", "int4", "int8", "money"],
    "float4": ["int2"],
    "float8": ["int4", "int8", "numeric", "float4"],
    "text": ["varchar", "bpchar"],
    "varchar": ["bpchar"],
    "timestamp": ["date"],
    "timestamptz": ["date", "timestamp"],
}

# Few, so that conditions hit. Some are equal and written differently; a few strings are numbers, dates or patterns.
VALUES = {
    "int2": ["-1", "0", "1", "2", "3", "7"],
    "int4": ["-2", "-1", "0", "1", "2", "3", "7", "10"],
    "int8": ["-1", "0", "1", "2", "3", "7", "100000"],
    "numeric": ["-2.25", "0", "1", "1.5", "1.50", "3", "7.125", "100.01", "0.3333333333"],
    "money": ["-2.25", "0.00", "1.00", "1.50", "3.00", "10.10"],
    "float4": ["-0.5", "0", "1", "1.5", "3", "0.1"],
    "float8": ["-0.5", "0", "-0", "1", "1.5", "2.25", "3", "0.1", "1e6"],
    "text": ["", "a", "ab", "abc", "Ab", "ab ", "b_%", "12", "1.5", "2024-02-29", "true", "żó"],
    "varchar": ["", "a", "ab", "Ab", "ab ", "12", "abcde"],
    "bpchar": ["", "a", "ab", "Ab", "12", "abcd"],
    "date": ["2024-02-29", "2024-03-01", "2023-12-31", "1999-01-01", "2024-02-28"],
    "timestamp": ["2024-02-29 00:00:00", "2024-02-29 12:34:56.789", "2023-12-31 23:59:59", "1999-01-01 00:00:00"],
    "timestamptz": ["2024-02-29 00:00:00+00", "2024-02-29 12:34:56.789+00", "2023-12-31 23:59:59+02"],
    "interval": ["1 day", "24:00:00", "1 mon", "30 days", "-02:00:00", "1 year 2 mons 3 days", "00:00:00.5", "0"],
    "bool": ["true", "false"],
    "jsonb": ["null", "1", "1.0", '"ab"', '{"a": 1, "b": [1, 2]}', '{"a": null}', "[]", '[1, "a", true]', "{}"],
    "ints": ["{}", "{1}", "{1,2}", "{1,NULL,3}", "{3,2,1}"],
    "texts": ["{}", "{a}", "{ab,NULL}", "{a,ab,\"\"}"],
    "uuid": ["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"],
    "bytea": ["\\x", "\\x00ff", "\\x6162", "\\x616200"],
}

EXPRESSIONS = """
any         CASE WHEN {bool} THEN {T} ELSE {T} END
any         CASE WHEN {bool} THEN {T} WHEN {bool} THEN {T} END
any         CASE {X} WHEN {X} THEN {T} WHEN {X} THEN {T} ELSE {T} END
any         COALESCE({T}, {T})
any         COALESCE({T}, {T}, {T?})
any         NULLIF({T}, {T})
any         NULLIF({T}, {T?})
any         GREATEST({T}, {T})
any         LEAST({T}, {T}, {T?})
any         ({T})
any         CAST({T} AS {NAME})
any         CAST({T}::text AS {NAME})

integer     {T} + {T}
integer     {T} - {T}
integer     {T} * {T}
integer     {T} / NULLIF({T}, 0)
integer     {T} % NULLIF({T}, 0)
integer     - {T}
integer     + {T}
integer     abs({T})
integer     {T} & {T}
integer     {T} | {T}
integer     {T} # {T}
integer     ~ {T}
integer     mod({T}, NULLIF({T}, 0))
int4        {int4} << 2
int4        {int4} >> 1
int4        length({string})
int4        char_length({string})
int4        octet_length({string})
int4        octet_length({bytea})
int4        length({bytea})
int4        bit_length({string})
int4        ascii({string})
int4        position({string} IN {string})
int4        strpos({string}, {string})
int4        {date} - {date}
int4        {bool}::int
int4        {numeric}::int
int4        {float8}::int
int4        {exact}::int
int4        '12'::int
int4        '7'::text::int
int4        cardinality({array})
int4        array_length({array}, 1)
int4        array_upper({array}, 1)
int4        array_lower({array}, 1)
int4        array_ndims({array})
int4        array_position({=ints}, {=int4})
int4        ({ints})[1]
int4        ({ints})[{int4}]
int4        jsonb_array_length('[1, 2]'::jsonb)
int4        ({jsonb} ->> 'a')::int
int4        {integer}::int
int8        {integer}::bigint
int8        {money}::bigint
int8        sign({integer})::bigint
int2        1::smallint
int2        {bool}::int::smallint
number      sign({number})::{NAME}

numeric     {exact} + {numeric}
numeric     {numeric} - {exact}
numeric     {exact} * {numeric}
numeric     {exact} / NULLIF({numeric}, 0)
numeric     {numeric} % NULLIF({exact}, 0)
numeric     - {numeric}
numeric     abs({numeric})
numeric     round({numeric})
numeric     round({numeric}, 1)
numeric     round({numeric}, -1)
numeric     trunc({numeric})
numeric     trunc({numeric}, 1)
numeric     ceil({numeric})
numeric     ceiling({exact})
numeric     floor({numeric})
numeric     sign({numeric})
numeric     sqrt(abs({numeric}))
numeric     power(abs({numeric}) + 1, 2)
numeric     {numeric} ^ 2
numeric     exp({numeric} / 100)
numeric     ln(abs({numeric}) + 1)
numeric     mod({numeric}, NULLIF({exact}, 0))
numeric     div({numeric}, NULLIF({numeric}, 0))
numeric     {integer}::numeric
numeric     {money}::numeric
numeric     {float8}::numeric
numeric     {float4}::numeric
numeric     '1.50'::numeric
numeric     {numeric}::numeric(12,1)
numeric     extract(epoch FROM {moment})
numeric     extract(year FROM {moment})
numeric     extract(month FROM {moment})
numeric     extract(day FROM {date})
numeric     extract(hour FROM {=timestamp})
numeric     extract(second FROM {=timestamp})
numeric     extract(dow FROM {moment})
numeric     extract(isodow FROM {moment})
numeric     extract(doy FROM {moment})
numeric     extract(week FROM {moment})
numeric     extract(isoyear FROM {moment})
numeric     extract(quarter FROM {moment})
numeric     extract(decade FROM {moment})
numeric     extract(century FROM {moment})
numeric     extract(millennium FROM {moment})
numeric     extract(milliseconds FROM {=timestamp})
numeric     extract(epoch FROM {interval})
numeric     extract(day FROM {interval})
numeric     extract(hour FROM {interval})
numeric     extract(month FROM {interval})
numeric     extract(julian FROM {date})
money       {numeric}::numeric(10,2)
money       {integer}::numeric(10,2)
money       {float8}::numeric(10,2)

float8      {float8} + {number}
float8      {number} - {float8}
float8      {float8} * {float4}
float8      {float8} / NULLIF({float8}, 0)
float8      - {float8}
float8      abs({float8})
float8      round({float8})
float8      trunc({float8})
float8      ceil({float8})
float8      floor({float8})
float8      sqrt(abs({float8}))
float8      power(abs({float8}) + 1, 0.5::float8)
float8      {float4} ^ 2
float8      exp({float8} / 1e20)
float8      ln(abs({float8}) + 1)
float8      log(abs({float8}) + 1)
float8      cbrt({float8})
float8      atan({float8})
float8      atan2({float8}, {float8})
float8      sin({float4})
float8      cos({float4})
float8      degrees({float8})
float8      radians({float8})
float8      pi()
float8      sign({float8})
float8      {exact}::float8
float8      {float4}::float8
float8      '1e3'::float8
float8      date_part('year', {moment})
float8      date_part('epoch', {interval})
float4      {float4} + {float4}
float4      {float4} * {float4}
float4      - {float4}
float4      abs({float4})
float4      {exact}::real

text        {string} || {string}
text        {string} || {int4}
text        {numeric} || {string}
text        {string} || {bool}
text        {date} || {string}
text        {string?} || {X}::text
text        upper({string})
text        lower({string})
text        initcap({string})
text        trim({string})
text        btrim({string}, 'a')
text        ltrim({string})
text        rtrim({string}, 'b ')
text        trim(leading 'a' FROM {string})
text        trim(both FROM {string})
text        substr({string}, 2)
text        substr({string}, {int4}, 2)
text        substring({string} FROM 2 FOR 1)
text        substring({string} FROM 'b.*')
text        left({string}, {int4})
text        right({string}, {int4})
text        lpad({string}, 6, 'xy')
text        rpad({string}, {int4})
text        replace({string}, {string}, 'z')
text        translate({string}, 'ab', 'x')
text        repeat({string}, 2)
text        reverse({string})
text        split_part({string}, 'b', 1)
text        split_part({string}, 'b', -1)
text        overlay({string} PLACING 'zz' FROM 2)
text        regexp_replace({string}, 'b+', 'X')
text        regexp_replace({string}, '[a-b]', '<\\&>', 'gi')
text        concat({X}, {string}, {int4})
text        concat_ws('-', {string}, {date}, {bool})
text        format('%s/%L', {string}, {X})
text        md5({string})
text        chr(65 + abs({int4}))
text        to_hex({int4})
text        quote_literal({string})
text        quote_ident({string})
text        to_char({timestamp}, 'YYYY-MM-DD HH24:MI:SS.MS')
text        to_char({date}, 'FMDay, DD Mon YYYY')
text        to_char({numeric}, '999.99')
text        {X}::text
text        {integer}::text
text        {float8}::text
text        {numeric}::text
text        {interval}::text
text        {moment}::text
text        {array}::text
text        {jsonb}::text
text        {bytea}::text
text        {string}::text
text        encode({bytea}, 'hex')
text        array_to_string({array}, ',')
text        array_to_string({array}, ',', '*')
text        ({texts})[1]
text        {jsonb} ->> 'a'
text        {jsonb} #>> '{b,0}'
text        jsonb_typeof({jsonb})
varchar     {string}::varchar(5)
varchar     {string}::varchar(2)::varchar
varchar     {integer}::varchar
bpchar      {string}::char(4)
bpchar      {string}::char(2)::char(4)
bpchar      {int4}::char(4)

date        {date} + {int4}
date        {date} - {int4}
date        {timestamp}::date
date        {timestamptz}::date
date        '2024-02-29'::date
date        to_date('2024-02-29', 'YYYY-MM-DD')
date        make_date(2024, 2, 29)
timestamp   {timestamp} + {interval}
timestamp   {timestamp} - {interval}
timestamp   {date} + {interval}
timestamp   {date}::timestamp
timestamp   {timestamptz}::timestamp
timestamp   date_trunc('month', {timestamp})
timestamp   date_trunc('week', {timestamp})
timestamp   date_trunc('hour', {timestamp})
timestamp   {timestamptz} AT TIME ZONE 'Europe/Warsaw'
timestamp   make_timestamp(2024, 2, 29, 1, 2, 3.5)
timestamp   date_bin('15 minutes', {timestamp}, '2024-01-01')
timestamptz {timestamptz} + {interval}
timestamptz {timestamptz} - {interval}
timestamptz {timestamp}::timestamptz
timestamptz {date}::timestamptz
timestamptz date_trunc('day', {timestamptz})
timestamptz {timestamp} AT TIME ZONE 'America/New_York'
timestamptz to_timestamp({integer})
interval    {interval} + {interval}
interval    {interval} - {interval}
interval    {interval} * {int4}
interval    {interval} * 1.5
interval    {interval} / 2
interval    - {interval}
interval    {timestamp} - {timestamp}
interval    {timestamptz} - {timestamptz}
interval    {date} - {timestamp}
interval    age({timestamp}, {timestamp})
interval    justify_days({interval})
interval    justify_hours({interval})
interval    make_interval(days => {int4})
interval    date_trunc('day', {interval})
interval    '1 day 02:00'::interval

bool        {X} = {X}
bool        {X} <> {X}
bool        {X} != {X?}
bool        {X} < {X}
bool        {X} <= {X}
bool        {X} > {X}
bool        {X} >= {X?}
bool        {X?} < {X}
bool        {number} = {number}
bool        {number} < {number}
bool        {number} >= {number}
bool        {string} = {string}
bool        {string} < {string}
bool        {string} <> {string}
bool        {moment} = {moment}
bool        {moment} <= {moment}
bool        {X} IS NULL
bool        {X} IS NOT NULL
bool        {X} IS DISTINCT FROM {X}
bool        {X} IS NOT DISTINCT FROM {X}
bool        {X} BETWEEN {X} AND {X}
bool        {number} BETWEEN {number} AND {number}
bool        {X} NOT BETWEEN {X} AND {X?}
bool        {X} BETWEEN SYMMETRIC {X} AND {X}
bool        {X} IN ({X!}, {X!}, {X?})
bool        {X} IN ({X}, NULL, {X})
bool        {X} NOT IN ({X!}, {X!})
bool        {X} NOT IN ({X}, {X}, {X})
bool        {number} IN ({number}, {number!})
bool        {string} IN ({string}, {string?})
bool        {bool} AND {bool}
bool        {bool} OR {bool}
bool        ({bool}) = ({bool})
bool        NOT {bool}
bool        {bool} IS TRUE
bool        {bool} IS NOT TRUE
bool        {bool} IS FALSE
bool        {bool} IS NOT FALSE
bool        {bool} IS UNKNOWN
bool        {bool} IS NOT UNKNOWN
bool        {string} LIKE 'a%'
bool        {string} LIKE '_b'
bool        {string} NOT LIKE '%b%'
bool        {string} LIKE {string}
bool        {string} ILIKE 'A%'
bool        {string} NOT ILIKE {string}
bool        {string} LIKE 'b\\_%'
bool        {string} LIKE 'b!_!%' ESCAPE '!'
bool        {string} ~ '^a'
bool        {string} !~ 'b$'
bool        {string} ~* 'AB'
bool        {string} SIMILAR TO 'a(b|c)%'
bool        starts_with({string}, 'a')
bool        regexp_like({string}, 'b')
bool        {X} = ANY (ARRAY[{X}, {X}])
bool        {X} <> ALL (ARRAY[{X!}, {X}])
bool        {number} > ANY (ARRAY[{number}, {number}])
bool        {int4} = ANY ({ints})
bool        {int4} < ALL ({ints})
bool        {string} = ANY ({texts})
bool        {=text} <> ALL ({texts})
bool        {string} LIKE ANY (ARRAY['a%', '%b'])
bool        {int4} = ANY ('{1,2}')
bool        {=ints} @> {=ints}
bool        {=texts} <@ {=texts}
bool        {=ints} && {=ints}
bool        {=ints} = ARRAY[{int4}, {int4}]
bool        {=ints} < {=ints}
bool        {jsonb} ? 'a'
bool        {jsonb} @> '{"a": 1}'
bool        {jsonb} = {jsonb}
bool        {jsonb} -> 'a' = '1'
bool        ({X}, {number}) = ({X}, {number})
bool        ({string}, {number}) < ({string}, {number})
bool        ({X}, {int4}) IS NOT DISTINCT FROM ({X}, {int4})
bool        ({X}, {string}) IN (({X}, {string}), ({X}, {string}))
bool        ({moment}, {interval}) OVERLAPS ({moment}, {interval})
bool        {int4}::bool
bool        'yes'::bool
bool        {bool}::text::bool

jsonb       {jsonb} -> 'a'
jsonb       {jsonb} -> 0
jsonb       {jsonb} -> 'b' -> 1
jsonb       {jsonb} #> '{b,1}'
jsonb       {jsonb} || {jsonb}
jsonb       {jsonb} - 'a'
jsonb       to_jsonb({X})
jsonb       jsonb_build_object('k', {X}, 'n', {number})
jsonb       jsonb_build_array({X}, {string})
jsonb       jsonb_set({jsonb}, '{a}', '2')
jsonb       '{"b": 2, "a": 1}'::jsonb

ints        ARRAY[{int4}, {int4}]
ints        ARRAY[{=int4}]::int[]
ints        {=ints} || {=int4}
ints        {=int4} || {=ints}
ints        {=ints} || {=ints}
ints        array_append({=ints}, {=int4})
ints        array_cat({=ints}, {=ints})
ints        array_remove({=ints}, {=int4})
ints        array_replace({=ints}, 1, 9)
ints        ({ints})[1:2]
ints        '{3,NULL}'::int[]
texts       ARRAY[{text}, {text}]
texts       {=texts} || {=text}
texts       {=texts} || {=texts}
texts       array_prepend({=text}, {=texts})
texts       array_remove({=texts}, {=text})
texts       string_to_array({string}, 'b')
texts       {ints}::text[]
uuid        {uuid}::text::uuid
bytea       {bytea} || {bytea}
bytea       substr({bytea}, 2)
bytea       '\\x0102'::bytea
bytea       decode('00ff', 'hex')
bytea       {=text}::bytea
"""

# Over the rows of a group. `{X}` comes with DISTINCT now and then, each with FILTER.
AGGREGATES = """
int8        count(*)
int8        count({X})
int8        count(DISTINCT {X})
int8        sum({=int4})
int8        sum({=int2})
int8        sum(DISTINCT {=int4})
numeric     sum({=int8})
numeric     sum({=numeric})
numeric     sum({=money})
numeric     sum(DISTINCT {=numeric})
float8      sum({=float8})
float4      sum({=float4})
interval    sum({=interval})
numeric     avg({exact})
numeric     avg(DISTINCT {=int4})
float8      avg({=float8})
float8      avg({=float4})
interval    avg({=interval})
numeric     variance({exact})
numeric     stddev({exact})
numeric     var_pop({exact})
numeric     stddev_pop({=int4})
float8      stddev_samp({=float8})
float8      var_samp({=float4})
number      min({=T})
number      max({=T})
string      min({=T})
string      max({=T})
moment      min({=T})
moment      max({=T})
interval    min({interval})
interval    max({interval})
ints        max({ints})
texts       min({texts})
bool        bool_and({bool})
bool        bool_or({bool})
bool        every({bool})
integer     bit_and({=T})
integer     bit_or({=T})
text        string_agg({string}::text, ',' ORDER BY {1}::text)
text        string_agg(DISTINCT {=text}, '-' ORDER BY {1})
ints        array_agg({=int4} ORDER BY {1})
ints        array_agg(DISTINCT {=int4} ORDER BY {1} DESC)
texts       array_agg({=text} ORDER BY {1} DESC NULLS LAST)
jsonb       jsonb_agg({=int4} ORDER BY {1})
float8      percentile_cont(0.5) WITHIN GROUP (ORDER BY {=float8})
int4        percentile_disc(0.5) WITHIN GROUP (ORDER BY {=int4})
float8      corr({=float8}, {=float8})
"""

# Over a window whose order leaves peers, which all have the same value.
PEERS = """
int8        rank()
int8        dense_rank()
float8      percent_rank()
float8      cume_dist()
int8        count(*)
int8        count({X})
int8        sum({=int4})
numeric     sum({=numeric})
numeric     avg({exact})
float8      sum({=float8})
number      min({=T})
string      max({=T})
moment      min({=T})
bool        bool_or({bool})
bool        bool_and({bool})
"""

# Over a window whose order is total.
ROWS = """
int8        row_number()
int4        ntile(3)
any         lag({T})
any         lag({T}, 2)
any         lead({=T}, 1, {=T})
any         first_value({T})
any         last_value({T})
any         nth_value({T}, 2)
int8        count({X})
int8        sum({=int4})
numeric     sum({=numeric})
numeric     avg({exact})
float8      avg({=float8})
number      max({=T})
string      min({=T})
bool        bool_or({bool})
ints        array_agg({=int4})
"""

# What queries are built of, for each type: `{a}` is a column of t, `{b}` one of u or w of the same family, `{other}` that table.
CONSTRUCTS = """
SELECT one.{a} AS c1, count(*) AS c2 FROM t one GROUP BY one.{a}
SELECT DISTINCT one.{a} AS c1 FROM t one
SELECT count(DISTINCT one.{a}) AS c1, min(one.id) AS c2 FROM t one
SELECT one.o AS c1, min(one.{a}) AS c2, max(one.{a}) AS c3 FROM t one GROUP BY one.o
SELECT DISTINCT ON (one.{a}) one.{a} AS c1, one.id AS c2 FROM t one ORDER BY one.{a}, one.id
SELECT one.id AS c1, one.{a} AS c2 FROM t one ORDER BY one.{a} DESC, one.id LIMIT 10
SELECT one.id AS c1, rank() OVER (ORDER BY one.{a}) AS c2 FROM t one
SELECT one.id AS c1, count(*) OVER (PARTITION BY one.{a} ORDER BY one.id) AS c2 FROM t one
SELECT one.id AS c1, lag(one.{a}) OVER (ORDER BY one.{a}, one.id) AS c2 FROM t one
SELECT one.{a} AS c1 FROM t one UNION ALL SELECT two.{b} FROM {other} two
SELECT one.{a} AS c1 FROM t one UNION SELECT two.{b} FROM {other} two
SELECT one.{a} AS c1 FROM t one INTERSECT SELECT two.{b} FROM {other} two
SELECT one.{a} AS c1 FROM t one EXCEPT SELECT two.{b} FROM {other} two
SELECT one.id AS c1, two.i AS c2, two.{b} AS c3 FROM t one JOIN {other} two ON one.{a} = two.{b}
SELECT one.id AS c1, two.i AS c2, two.{b} AS c3 FROM t one FULL JOIN {other} two ON one.{a} = two.{b}
SELECT one.id AS c1, two.i AS c2, two.{b} AS c3 FROM t one JOIN {other} two ON one.{a} IS NOT DISTINCT FROM two.{b}
SELECT one.id AS c1, two.i AS c2 FROM t one JOIN {other} two ON one.{a} < two.{b}
SELECT one.id AS c1, two.i AS c2 FROM t one JOIN {other} two ON one.{a} IS NOT DISTINCT FROM two.{b} JOIN u three ON three.id = one.id
SELECT one.id AS c1, two.id AS c2, three.i AS c3 FROM t one JOIN t two USING ({a}) JOIN {other} three ON one.{a} = three.{b}
SELECT DISTINCT one.o AS c1 FROM t one JOIN t two USING ({a}) LEFT JOIN {other} three ON one.i IS NOT DISTINCT FROM three.i
SELECT one.id AS c1 FROM t one WHERE one.{a} IN (SELECT two.{b} FROM {other} two)
SELECT one.id AS c1 FROM t one WHERE one.{a} NOT IN (SELECT two.{b} FROM {other} two WHERE two.{b} IS NOT NULL)
SELECT one.id AS c1 FROM t one WHERE one.{a} NOT IN (SELECT two.{b} FROM {other} two WHERE two.o)
SELECT one.id AS c1 FROM t one WHERE (SELECT min(three.{a}) FROM t three) NOT IN (SELECT two.{b} FROM {other} two)
SELECT one.id AS c1 FROM t one WHERE EXISTS (SELECT 1 FROM {other} two WHERE two.{b} = one.{a})
SELECT one.id AS c1 FROM t one WHERE NOT EXISTS (SELECT 1 FROM {other} two WHERE two.{b} = one.{a} AND two.o)
SELECT one.id AS c1, (SELECT count(*) FROM {other} two WHERE two.{b} = one.{a}) AS c2 FROM t one
SELECT one.id AS c1, (SELECT max(two.i) FROM {other} two WHERE two.{b} = one.{a}) AS c2 FROM t one
SELECT one.id AS c1, CASE WHEN one.o THEN one.{a} ELSE two.{b} END AS c2 FROM t one JOIN {other} two ON one.i = two.i
SELECT one.id AS c1, COALESCE(one.{a}, two.{b}) AS c2, COALESCE(two.{b}, one.{a}) AS c3 FROM t one LEFT JOIN {other} two ON one.i = two.i
SELECT one.id AS c1, GREATEST(one.{a}, two.{b}) AS c2, NULLIF(one.{a}, two.{b}) AS c3 FROM t one JOIN {other} two ON one.i = two.i
SELECT one.id AS c1 FROM t one JOIN {other} two ON one.i = two.i WHERE one.{a} = two.{b} OR one.{a} > two.{b}
SELECT one.{a} AS c1, avg(one.n) AS c2 FROM t one GROUP BY one.{a} HAVING count(*) > 1
SELECT one.{a} AS c1, one.o AS c2, count(*) AS c3 FROM t one GROUP BY CUBE (one.{a}, one.o)
SELECT one.{a} AS c1, count(*) AS c2 FROM t one GROUP BY GROUPING SETS ((one.{a}), ())
SELECT one.id AS c1, one.{a} AS c2, count(two.i) AS c3 FROM t one LEFT JOIN {other} two ON one.i = two.i GROUP BY one.id
SELECT one.{a} AS c1, -one.id AS id FROM t one ORDER BY one.id LIMIT 9
SELECT one.{a}, two.{b}, one.{a}, one.{a} AS {b} FROM t one JOIN {other} two ON one.i = two.i
SELECT {a}, one.{a}, two.{a}, three.{a} FROM t one FULL JOIN t two USING ({a}) LEFT JOIN t three USING ({a}, id)
"""


class Template:
    """One line of a table."""

    def __init__(self, table, line):
        self.table = table
        self.result, self.text = line.split(maxsplit=1)
        self.pieces = list(pieces(self.text))

    def makes(self, kind):
        return kind in types_of(self.result)

    def __str__(self):
        return f"{self.result}: {self.text}"


def pieces(text):
    """Pairs of plain text and the place that follows it; the last has none."""
    while True:
        begin = text.find("{")
        while begin >= 0 and not is_place(text[begin + 1 : text.index("}", begin)]):
            begin = text.find("{", begin + 1)
        if begin < 0:
            yield text, None
            return
        end = text.index("}", begin)
        yield text[:begin], text[begin + 1 : end]
        text = text[end + 1 :]


def is_place(word):
    return word.strip("=!?") in {*NAMES, *CLASSES, "T", "X", "NAME", "1"}


def types_of(word):
    """The types of a class, or the one type."""
    return CLASSES.get(word, [word])


def family(kind):
    return next((family for family in FAMILIES if kind in family), [kind])


def common(one, other):
    """The type that two have together; of those that have none it is the first."""
    if one == other or other not in family(one):
        return one
    if one in CLASSES["string"]:
        return "text"
    later = max(one, other, key=family(one).index)
    return "numeric" if later == "money" else later


def templates(table, text):
    return [Template(table, line) for line in text.splitlines() if line.strip()]


TABLES = {
    "expression": templates("expression", EXPRESSIONS),
    "aggregate": templates("aggregate", AGGREGATES),
    "peers": templates("peers", PEERS),
    "rows": templates("rows", ROWS),
}
