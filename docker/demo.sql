-- The shop of docker/compose.yaml in Weir: a source, its tables, views of them, and what they say. compose.yaml says how to run it.
\set ON_ERROR_STOP on

CREATE SOURCE shop WITH (
    connector = 'postgres-cdc', hostname = 'postgres', port = '5432', username = 'postgres', password = 'demo',
    database.name = 'shop', schema.name = 'public', slot.name = 'weir_shop', publication.name = 'weir_shop');

-- Each table starts with the rows that exist, and follows every commit from there on.
CREATE TABLE customers (*) FROM shop TABLE 'public.customers';
CREATE TABLE products (*) FROM shop TABLE 'public.products';
CREATE TABLE orders (*) FROM shop TABLE 'public.orders';
CREATE TABLE lines (*) FROM shop TABLE 'public.lines';

-- Views are kept up to date row by row; a view may stand on other views.
CREATE MATERIALIZED VIEW order_totals AS
SELECT o.id, o.customer_id, o.status, sum(l.quantity * p.price) AS total
FROM orders AS o JOIN lines AS l ON l.order_id = o.id JOIN products AS p ON p.id = l.product_id
GROUP BY o.id, o.customer_id, o.status;

CREATE MATERIALIZED VIEW revenue_by_country AS
SELECT c.country, count(*) AS orders, sum(t.total) AS revenue, max(t.total) AS biggest
FROM order_totals AS t JOIN customers AS c ON c.id = t.customer_id
GROUP BY c.country;

SELECT * FROM revenue_by_country ORDER BY country;
EXPLAIN CREATE MATERIALIZED VIEW v AS SELECT status, count(*) FROM orders GROUP BY status;
SELECT name, state, lag_bytes, last_error FROM rw_catalog.rw_sources;
SELECT name, status, rows, freshness_ms, errors FROM rw_catalog.rw_materialized_views ORDER BY name;
