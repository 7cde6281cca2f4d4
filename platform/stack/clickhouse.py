"""ClickHouse: the engine inside the wheel chdb-core, run as a server on loopback by a side process."""

import hashlib
import http.client
import sys
from pathlib import Path
from urllib.parse import urlencode
from xml.sax.saxutils import escape

from stack.addresses import write_private
from stack.children import Child, Program
from stack.ports import LOOPBACK, free_port
from stack.redis_part import remembered_password

USER = DATABASE = "perennial"
CONSOLE = "perennial_console"
CONSOLE_ACCOUNT = Path(__file__).parents[2] / "deploy" / "clickhouse" / "console_user.xml"
SERVER = str(Path(__file__).with_name("clickhouse_server.py"))
MEMORY = 2 << 30

CONFIG = """\
<clickhouse>
  <log-level>warning</log-level>
  <logger><log>{run}/server.log</log><size>10M</size><count>2</count></logger>
  <listen_host>{host}</listen_host>
  <tcp_port>{tcp}</tcp_port>
  <http_port>{http}</http_port>
  <users_config>{run}/users.xml</users_config>
  <mark_cache_size>67108864</mark_cache_size>
  <max_server_memory_usage>{memory}</max_server_memory_usage>
  <background_pool_size>2</background_pool_size>
</clickhouse>
"""
# The wheel carries no symbols: stack traces in errors would be bare numbers.
# `default` is the engine's own session: it must log in without a password, so it may open the listeners and no more.
USERS = """\
<clickhouse>
  <profiles><default><calculate_text_stack_trace>0</calculate_text_stack_trace></default></profiles>
  <users>
    <default>
      <password></password><networks><ip>127.0.0.1</ip></networks>
      <profile>default</profile><quota>default</quota>
      <grants><query>GRANT SYSTEM LISTEN ON *.*</query><query>GRANT SELECT ON system.numbers</query></grants>
    </default>
    <{user}>
      <password_sha256_hex>{digest}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
      <profile>default</profile><quota>default</quota>
      <access_management>1</access_management>
    </{user}>
  </users>
  <quotas><default/></quotas>
</clickhouse>
"""


class ClickHouse:
    name = "ClickHouse"

    def __init__(self, home: Path, logs: Path, *, throwaway: bool = False) -> None:
        self.home = home
        self.log = logs / "clickhouse.log"
        self.throwaway = throwaway
        self.child: Child | None = None
        self.console_url = ""  # the account of the SQL console, once it is started

    def start(self) -> str:
        run = self.home / "run"
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        run.mkdir(exist_ok=True)
        password = remembered_password(self.home / "password")
        tcp, http_port = free_port(self.home / "port"), free_port(self.home / "http_port")
        write_private(run / "users.xml", USERS.format(user=USER, digest=_sha256(password)))
        console_password = remembered_password(self.home / "console_password")
        (run / "users.d").mkdir(exist_ok=True)
        console = CONSOLE_ACCOUNT.read_text().replace("PASSWORD_SHA256_HEX", _sha256(console_password))
        write_private(run / "users.d" / "console_user.xml", console)
        settings = {"run": escape(str(run)), "host": LOOPBACK, "tcp": tcp, "http": http_port, "memory": MEMORY}
        write_private(run / "config.xml", CONFIG.format(**settings))
        # -P: the script's own folder must not be searched, its modules have the names of installed ones.
        argv = [sys.executable, "-P", SERVER, str(self.home), USER, str(http_port)]
        self.child = Child(Program(self.name, argv, self.home / "pid", self.log, run))
        self.child.start()
        self.child.wait_until(lambda: query(http_port, password, "SELECT 1") == "1")
        query(http_port, password, f"CREATE DATABASE IF NOT EXISTS {DATABASE}")
        self.console_url = f"clickhouse://{CONSOLE}:{console_password}@{LOOPBACK}:{tcp}/{DATABASE}"
        return f"clickhouse://{USER}:{password}@{LOOPBACK}:{tcp}/{DATABASE}"

    def stop(self) -> None:
        if self.child is not None:
            self.child.stop()


def query(http_port: int, password: str, sql: str) -> str | None:
    """None while nobody answers."""
    link = http.client.HTTPConnection(LOOPBACK, http_port, timeout=5)
    try:
        link.request("POST", "/?" + urlencode({"query": sql}), headers=_login(password))
        reply = link.getresponse()
        text = reply.read().decode(errors="replace").strip()
        return text if reply.status == 200 else None
    except (OSError, http.client.HTTPException):
        return None
    finally:
        link.close()


def _login(password: str) -> dict[str, str]:
    return {"X-ClickHouse-User": USER, "X-ClickHouse-Key": password, "Content-Length": "0"}


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
