// What BI tools and services ask by way of JDBC. Usage: java -cp postgresql.jar jdbc.java PORT
import java.io.StringReader;
import java.io.StringWriter;
import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.Statement;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.postgresql.PGConnection;
import org.postgresql.PGStatement;

class Jdbc {
    static void check(String what, Object found, Object expected) {
        if (!expected.equals(found)) {
            throw new AssertionError(what + ": " + found + " and not " + expected);
        }
    }

    static List<String> column(ResultSet rows, String name) throws Exception {
        List<String> values = new ArrayList<>();
        while (rows.next()) {
            values.add(rows.getString(name));
        }
        return values;
    }

    public static void main(String[] arguments) throws Exception {
        Properties properties = new Properties();
        properties.setProperty("user", "root");
        properties.setProperty("prepareThreshold", "2");
        Connection connection =
            DriverManager.getConnection("jdbc:postgresql://127.0.0.1:" + arguments[0] + "/dev", properties);

        DatabaseMetaData meta = connection.getMetaData();
        check("product", meta.getDatabaseProductName(), "PostgreSQL");
        check("schemas", column(meta.getSchemas(), "TABLE_SCHEM").contains("public"), true);
        check("tables", column(meta.getTables(null, "public", "%", new String[] {"TABLE"}), "TABLE_NAME"), List.of("items"));
        check("views", column(meta.getTables(null, "public", "%", new String[] {"MATERIALIZED VIEW"}), "TABLE_NAME"),
            List.of("dear"));
        check("columns", column(meta.getColumns(null, "public", "items", "%"), "COLUMN_NAME"),
            List.of("id", "name", "price"));
        check("types", column(meta.getColumns(null, "public", "items", "%"), "TYPE_NAME"),
            List.of("int4", "varchar", "numeric"));
        check("nullable", column(meta.getColumns(null, "public", "items", "%"), "IS_NULLABLE"),
            List.of("NO", "YES", "YES"));
        check("primary key", column(meta.getPrimaryKeys(null, "public", "items"), "COLUMN_NAME"), List.of("id"));
        check("foreign keys", column(meta.getImportedKeys(null, "public", "items"), "FKCOLUMN_NAME"), List.of());
        check("indexes", column(meta.getIndexInfo(null, "public", "items", true, false), "COLUMN_NAME"), List.of("id"));
        meta.getTypeInfo().close();
        meta.getCatalogs().close();
        meta.getProcedures(null, null, "%").close();
        meta.getFunctions(null, null, "%").close();

        // The same statement again and again is prepared in the server, with binary values.
        try (PreparedStatement select = connection.prepareStatement("SELECT name, price FROM items WHERE id = ?")) {
            for (int i = 0; i < 5; i++) {
                select.setInt(1, 2);
                ResultSet rows = select.executeQuery();
                rows.next();
                check("name", rows.getString(1), "cake");
                check("price", rows.getBigDecimal(2), new java.math.BigDecimal("12.00"));
            }
            check("prepared in the server", select.unwrap(PGStatement.class).isUseServerPrepare(), true);
        }

        connection.setAutoCommit(false);
        try (Statement statement = connection.createStatement()) {
            statement.setFetchSize(7);
            ResultSet rows = statement.executeQuery("SELECT x FROM generate_series(1, 100) AS t (x)");
            int count = 0;
            while (rows.next()) {
                check("row", rows.getInt(1), ++count);
            }
            check("rows by pieces", count, 100);
        }
        connection.commit();

        try (PreparedStatement insert = connection.prepareStatement("INSERT INTO items VALUES (?, ?, ?)")) {
            for (int i = 10; i < 13; i++) {
                insert.setInt(1, i);
                insert.setString(2, "batch " + i);
                insert.setBigDecimal(3, new java.math.BigDecimal("100.5"));
                insert.addBatch();
            }
            check("batch", insert.executeBatch().length, 3);
        }
        connection.commit();
        java.sql.Savepoint savepoint = connection.setSavepoint("here");
        try (Statement statement = connection.createStatement()) {
            statement.executeUpdate("DELETE FROM items WHERE id = 1");
            statement.executeQuery("SELECT nope");
            throw new AssertionError("there is no column nope");
        } catch (java.sql.SQLException error) {
            check("state", error.getSQLState(), "42703");
        }
        connection.rollback(savepoint);
        connection.commit();
        connection.setAutoCommit(true);
        try (Statement statement = connection.createStatement()) {
            ResultSet rows = statement.executeQuery("SELECT count(*), (SELECT count(*) FROM dear) FROM items");
            rows.next();
            check("items", rows.getLong(1), 6L);
            check("dear", rows.getLong(2), 5L);
        }

        PGConnection own = connection.unwrap(PGConnection.class);
        long copied = own.getCopyAPI().copyIn("COPY items (id, name) FROM STDIN CSV", new StringReader("20,\"a, b\"\n21,\n"));
        check("copied in", copied, 2L);
        StringWriter written = new StringWriter();
        own.getCopyAPI().copyOut("COPY (SELECT id, name FROM items WHERE id >= 20 ORDER BY id) TO STDOUT CSV", written);
        check("copied out", written.toString(), "20,\"a, b\"\n21,\n");
        connection.close();
        System.out.println("ok");
    }
}
