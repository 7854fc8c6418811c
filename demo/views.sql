-- Views are kept up to date row by row; a view may stand on other views.
CREATE MATERIALIZED VIEW order_totals AS
SELECT o.id, o.customer_id, o.status, sum(l.quantity * p.price) AS total
FROM orders AS o JOIN lines AS l ON l.order_id = o.id JOIN products AS p ON p.id = l.product_id
GROUP BY o.id, o.customer_id, o.status;

CREATE MATERIALIZED VIEW revenue_by_country AS
SELECT c.country, count(*) AS orders, sum(t.total) AS revenue, max(t.total) AS biggest
FROM order_totals AS t JOIN customers AS c ON c.id = t.customer_id
GROUP BY c.country;

CREATE MATERIALIZED VIEW open_orders AS
SELECT status, count(*) AS orders, sum(total) AS worth FROM order_totals WHERE status <> 'sent' GROUP BY status;

CREATE MATERIALIZED VIEW best_customers AS
SELECT c.name, count(*) AS orders, sum(t.total) AS spent
FROM customers AS c JOIN order_totals AS t ON t.customer_id = c.id
GROUP BY c.name HAVING sum(t.total) > 2000;

CREATE MATERIALIZED VIEW never_ordered AS
SELECT c.id, c.name FROM customers AS c WHERE NOT EXISTS (SELECT 1 FROM orders AS o WHERE o.customer_id = c.id);
