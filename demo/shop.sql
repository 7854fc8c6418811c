-- A small shop in Postgres: the upstream of the demo.
CREATE TABLE customers (id int PRIMARY KEY, name text NOT NULL, country text NOT NULL);
CREATE TABLE products (id int PRIMARY KEY, name text NOT NULL, price numeric(10, 2) NOT NULL);
CREATE TABLE orders (id bigint PRIMARY KEY, customer_id int NOT NULL, placed timestamptz NOT NULL, status text NOT NULL);
CREATE TABLE lines (order_id bigint, product_id int, quantity int NOT NULL, PRIMARY KEY (order_id, product_id));

INSERT INTO customers
SELECT i, 'customer ' || i, (ARRAY['Italy', 'Norway', 'Turkey', 'Japan', 'Peru'])[1 + i % 5] FROM generate_series(1, 200) AS i;
INSERT INTO products
SELECT i, (ARRAY['tea', 'cake', 'jam', 'bread', 'honey'])[1 + i % 5] || ' no. ' || i, (i * 37 % 2000 + 99) / 100.0
FROM generate_series(1, 50) AS i;
INSERT INTO orders
SELECT i, 1 + i * 7 % 180, timestamptz '2026-01-01 00:00+00' + i * interval '3 minutes', (ARRAY['open', 'paid', 'sent'])[1 + i % 3]
FROM generate_series(1, 10000) AS i;
INSERT INTO lines
SELECT i, 1 + (i * 13 + n * 17) % 50, 1 + (i + n) % 4 FROM generate_series(1, 10000) AS i, generate_series(1, 2) AS n;

CREATE SEQUENCE order_number START 10001;

-- One customer's visit, in one transaction: an order with two lines, an older order that moves on, now and then a return.
CREATE PROCEDURE visit() LANGUAGE plpgsql AS $$
DECLARE
    number bigint := nextval('order_number');
    first int := 1 + floor(random() * 50);
BEGIN
    INSERT INTO orders VALUES (number, 1 + floor(random() * 200), now(), 'open');
    INSERT INTO lines VALUES (number, first, 1 + floor(random() * 5)), (number, 1 + first % 50, 1);
    UPDATE orders SET status = CASE status WHEN 'open' THEN 'paid' ELSE 'sent' END WHERE id = number - 1 - floor(random() * 50);
    IF random() < 0.1 THEN
        DELETE FROM lines WHERE order_id = number - 100;
        DELETE FROM orders WHERE id = number - 100;
    END IF;
    IF random() < 0.02 THEN
        UPDATE products SET price = price + 0.01 WHERE id = first;
    END IF;
END $$;
