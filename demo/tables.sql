-- Weir reads the shop's change log. Each table starts with the rows that exist, and follows every commit from there on.
CREATE SOURCE shop WITH (
    connector = 'postgres-cdc', hostname = '127.0.0.1', port = :'port', username = 'postgres', password = 'demo',
    database.name = 'shop', schema.name = 'public', slot.name = 'weir_shop', publication.name = 'weir_shop');

CREATE TABLE customers (*) FROM shop TABLE 'public.customers';
CREATE TABLE products (*) FROM shop TABLE 'public.products';
CREATE TABLE orders (*) FROM shop TABLE 'public.orders';
CREATE TABLE lines (*) FROM shop TABLE 'public.lines';
