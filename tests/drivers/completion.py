"""psql on a terminal, told to press Tab: what it offers, and that its questions behind the scenes never fail."""

import os
import pty
import select
import socket
import sys
import tempfile
import threading
import time

SCHEMAS = ["information_schema.", "public.", "rw_catalog."]
TABLES = ["items"]
VIEWS = ["dear"]

# What is typed before Tab, and what is offered: all of it as a set, or what the line becomes if there is but one.
OFFERED = [
    ("SELECT * FROM ", {*TABLES, *VIEWS, *SCHEMAS}),
    ("SELECT * FROM it", "SELECT * FROM items "),
    ("SELECT * FROM public.", {"public.items", "public.dear"}),
    ("SELECT * FROM items JOIN ", {*TABLES, *VIEWS, *SCHEMAS}),
    ("SELECT * FROM items WHERE ", {"id", "name", "price"}),
    ("SELECT * FROM items WHERE p", "SELECT * FROM items WHERE price "),
    ("SELECT * FROM dear WHERE ", {"id", "name"}),
    ("INSERT INTO ", {*TABLES, *SCHEMAS}),
    ("INSERT INTO items (", {"id", "name", "price"}),
    ("UPDATE ", {*TABLES, *SCHEMAS}),
    ("UPDATE items SET ", {"id", "name", "price"}),
    ("DELETE FROM ", {*TABLES, *SCHEMAS}),
    ("DROP TABLE ", {*TABLES, *SCHEMAS}),
    ("DROP MATERIALIZED VIEW ", {*VIEWS, *SCHEMAS}),
    ("DROP INDEX ", {"items_pkey", *SCHEMAS}),
    ("COPY ", None),
    ("EXPLAIN SELECT * FROM ", {*TABLES, *VIEWS, *SCHEMAS}),
    ("SHOW time", "SHOW timezone "),
    ("SET time", "SET timezone "),
    ("SET TimeZone TO 'Europe/War", "SET TimeZone TO 'Europe/Warsaw' "),
    ("SET search_path TO ", None),
    ("\\d ", {"items", "items_pkey", "dear", *SCHEMAS}),
    ("\\d+ it", {"items", "items_pkey"}),
    ("\\dt ", {*TABLES, *SCHEMAS}),
    ("\\dm ", {*VIEWS, *SCHEMAS}),
    ("\\di ", {"items_pkey", *SCHEMAS}),
    ("\\dn ", {"information_schema", "pg_catalog", "public", "rw_catalog"}),
    ("\\du ", {"postgres", "root"}),
    ("\\l ", "\\l dev "),
    ("\\c ", "\\c dev "),
    ("\\copy ", {"(", *TABLES, *SCHEMAS}),
    ("DEALLOCATE ", None),
    ("EXECUTE ", None),
    ("CLOSE ", None),
    ("FETCH FROM ", None),
    ("\\encoding ", None),
    ("\\df ", None),
    ("\\sv ", None),
    ("\\dT ", None),
    ("\\dx ", None),
    ("\\des ", None),
    ("\\dew ", None),
    ("\\dy ", None),
    ("ALTER TABLE items ", None),
    ("ALTER TABLE items DROP COLUMN ", None),
    ("ALTER TABLE items DROP CONSTRAINT ", None),
    ("CREATE TABLE x (a ", None),
    ("CREATE INDEX ON ", None),
    ("COMMENT ON CONSTRAINT items_pkey ON ", None),
    ("DROP TRIGGER ", None),
    ("DROP FUNCTION ", None),
    ("DROP EXTENSION ", None),
    ("DROP PUBLICATION ", None),
    ("DROP SUBSCRIPTION ", None),
    ("GRANT SELECT ON ", None),
    ("GRANT root TO ", None),
    ("SET ROLE ", None),
    ("REINDEX TABLE ", None),
]


class Relay:
    """Between psql and the server; keeps the errors that pass."""

    def __init__(self, port):
        self.target = port
        self.errors = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            near, _ = self.listener.accept()
            far = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self.pump, args=(near, far, lambda _: None), daemon=True).start()
            threading.Thread(target=self.pump, args=(far, near, self.look()), daemon=True).start()

    @staticmethod
    def pump(source, sink, look):
        while data := source.recv(65536):
            look(data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)

    def look(self):
        waiting = bytearray()

        def add(data):
            waiting.extend(data)
            while len(waiting) >= 5 and len(waiting) > (size := int.from_bytes(waiting[1:5], "big")):
                if waiting[0] == ord("E"):
                    self.errors.append(bytes(waiting[5 : size + 1]).decode(errors="replace"))
                del waiting[: size + 1]

        return add


class Terminal:
    PROMPT = "ready> "

    def __init__(self, psql, port):
        with tempfile.NamedTemporaryFile("w", suffix=".inputrc", delete=False) as settings:
            settings.write("set bell-style none\nset show-all-if-ambiguous on\nset completion-query-items 0\n")
            settings.write("set page-completions off\nset completion-display-width 0\nset enable-bracketed-paste off\n")
        environment = dict(os.environ, INPUTRC=settings.name, TERM="dumb", COLUMNS="500", PSQL_HISTORY="/dev/null")
        environment.update(PGSSLMODE="disable", PGGSSENCMODE="disable", PGCONNECT_TIMEOUT="30")
        arguments = [psql, "-X", "-v", f"PROMPT1={self.PROMPT}", "-v", "MARK=the end", "-h", "127.0.0.1", "-p", str(port)]
        process, self.terminal = pty.fork()
        if process == 0:
            os.execvpe(psql, [*arguments, "-U", "root", "-d", "dev"], environment)
        self.until(self.PROMPT)
        os.unlink(settings.name)

    def until(self, end):
        seen, deadline = "", time.monotonic() + 60
        while not seen.endswith(end):
            assert time.monotonic() < deadline, f"psql does not answer: {seen!r}"
            if select.select([self.terminal], [], [], 1)[0]:
                seen += os.read(self.terminal, 65536).decode()
        return seen

    def offers(self, typed):
        """The candidates, or what the line becomes."""
        # Tab, then the line is removed, and a command says when all that is done.
        os.write(self.terminal, f"{typed}\t\x15\\echo :MARK\n".encode())
        seen = self.until(f"the end\r\n{self.PROMPT}")
        lines = seen.split("\r\n")
        again = [at for at, line in enumerate(lines) if line.startswith(self.PROMPT)][0]
        if again == len(lines) - 1:
            return lines[0].split("\r")[0].split("\b")[0]
        # Key words are psql's own, and differ by its version.
        return {word for line in lines[1:again] if not (word := line.strip()).isupper()}


def main():
    port, psql = int(sys.argv[1]), (sys.argv[2:] or ["psql"])[0]
    relay = Relay(port)
    terminal = Terminal(psql, relay.port)
    wrong = []
    for typed, expected in OFFERED:
        offered = terminal.offers(typed)
        if expected is not None and offered != expected:
            wrong.append(f"{typed!r}: {offered}, not {expected}")
        wrong.extend(f"{typed!r}: {error!r}" for error in relay.errors)
        relay.errors.clear()
    assert not wrong, "\n".join(wrong)
    print("ok")


main()
