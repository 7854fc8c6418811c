"""Both servers as processes in temporary folders, and sessions with them that see the bytes of an answer as they came."""

import functools
import os
import pathlib
import pwd
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time

import parameters
import psycopg
from psycopg import pq

START = 60
# Beyond the server's own limit of a statement: then it hangs.
SILENCE = 30
LIMIT = "5s"
MOST_ROWS = 20_000

OK = (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.COMMAND_OK, pq.ExecStatus.SINGLE_TUPLE)


class Answer:
    """Rows as text, with the types and names of their columns."""

    def __init__(self, rows, types, names):
        self.rows = rows
        self.types = types
        self.names = names


class Refusal:
    def __init__(self, state, message):
        self.state = state
        self.message = message


class Lost:
    """The connection ended, or nothing came for too long."""

    def __init__(self, message):
        self.message = message


class TooLarge:
    pass


class Session:
    def __init__(self, where):
        self.connection = pq.PGconn.connect(where.encode())
        if self.connection.status != pq.ConnStatus.OK:
            raise ConnectionError(self.connection.error_message.decode())
        self.must("SET statement_timeout = '%s'" % LIMIT)

    def must(self, sql):
        answer = self.ask(sql)
        assert isinstance(answer, Answer), f"{sql[:300]}: {vars(answer)}"
        return answer

    def ask(self, sql):
        """What the server says; no more than MOST_ROWS are kept. Values of parameters are sent as text, of no type."""
        try:
            if parameters.has_any(sql):
                sql, values = parameters.taken_out(sql)
                self.connection.send_query_params(sql.encode(), [value if value is None else value.encode() for value in values])
            else:
                self.connection.send_query(sql.encode())
            self.connection.set_single_row_mode()
            return self.collect()
        except TimeoutError as error:
            self.connection.finish()
            return Lost(f"no answer {error}")
        except psycopg.OperationalError as error:
            return Lost(str(error))

    def collect(self):
        answer, refusal, large = Answer([], [], []), None, False
        while (result := self.result()) is not None:
            if result.status not in OK:
                refusal = refusal or self.refusal(result)
                continue
            if result.nfields:
                answer.types = [result.ftype(at) for at in range(result.nfields)]
                answer.names = [result.fname(at).decode() for at in range(result.nfields)]
            rows = [tuple(result.get_value(row, at) for at in range(result.nfields)) for row in range(result.ntuples)]
            answer.rows.extend(tuple(value if value is None else value.decode() for value in row) for row in rows)
            if len(answer.rows) > MOST_ROWS and not large:
                large = True
                self.connection.get_cancel().cancel()
        if self.connection.status != pq.ConnStatus.OK:
            return Lost(self.connection.error_message.decode(errors="replace").strip())
        return TooLarge() if large else refusal or answer

    def result(self):
        end = time.monotonic() + SILENCE
        while self.connection.is_busy():
            left = end - time.monotonic()
            if left <= 0 or not select.select([self.connection.socket], [], [], left)[0]:
                raise TimeoutError(f"within {SILENCE} s")
            self.connection.consume_input()
        return self.connection.get_result()

    @staticmethod
    def refusal(result):
        state = result.error_field(pq.DiagnosticField.SQLSTATE)
        message = result.error_field(pq.DiagnosticField.MESSAGE_PRIMARY)
        return Refusal((state or b"").decode(), (message or result.error_message).decode(errors="replace").strip())

    def close(self):
        self.connection.finish()


class Server:
    """A program in a folder of its own, ended by its process id."""

    def __init__(self, name):
        self.home = pathlib.Path(tempfile.mkdtemp(prefix=f"weir-differ-{name}-"))
        self.port = free_port()
        self.process = None

    def run(self, command, **how):
        log = open(self.home / "log", "ab")
        self.process = subprocess.Popen(command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **how)

    def connect(self):
        """A session as soon as the server takes one."""
        end = time.monotonic() + START
        while True:
            try:
                return Session(self.where())
            except ConnectionError as error:
                if self.process.poll() is not None:
                    raise SystemExit(f"the server ended: {self.log()}") from error
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)

    def log(self):
        return (self.home / "log").read_text(errors="replace")[-3000:]

    def stop(self, how=signal.SIGKILL):
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


class Postgres(Server):
    def __init__(self):
        super().__init__("postgres")
        programs = pathlib.Path(os.environ.get("PG_BIN") or newest_programs())
        user = unprivileged()
        if user:
            os.chown(self.home, user.pw_uid, user.pw_gid)
        how = dict(user=user.pw_uid, group=user.pw_gid, extra_groups=[]) if user else {}
        data = self.home / "data"
        made = [programs / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run(made, check=True, cwd=self.home, stdout=subprocess.DEVNULL, **how)
        settings = ["listen_addresses=", "fsync=off", "timezone=UTC", "max_connections=10"]
        command = [programs / "postgres", "-D", data, "-k", self.home, "-p", str(self.port)]
        self.run([*command, *(word for setting in settings for word in ("-c", setting))], **how)

    def where(self):
        return f"host={self.home} port={self.port} user=postgres dbname=postgres"

    def stop(self, how=signal.SIGQUIT):
        # Killing the postmaster would leave its children behind for a while; this ends them all.
        super().stop(how)


class Weir(Server):
    def __init__(self, program):
        super().__init__("server")
        self.program = pathlib.Path(program).resolve()
        self.http = free_port()
        self.start()

    def start(self):
        places = ["--listen", f"127.0.0.1:{self.port}", "--http", f"127.0.0.1:{self.http}", "--store", self.home / "store"]
        environment = dict(os.environ, RUST_BACKTRACE="1")
        self.run([self.program, "serve", "--trust", "--workers", "1", "--log", "warn", *places], env=environment)

    def where(self):
        return f"host=127.0.0.1 port={self.port} user=root dbname=dev connect_timeout=30"

    def restart(self):
        """After a loss: on the same store."""
        self.process.kill()
        self.process.wait()
        self.start()


@functools.cache
def unprivileged():
    """Who runs PostgreSQL, which refuses to be run by root."""
    if os.geteuid() != 0:
        return None
    known = {user.pw_name: user for user in pwd.getpwall()}
    return known.get("postgres") or known["nobody"]


def newest_programs():
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else pathlib.Path(shutil.which("initdb")).resolve().parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
