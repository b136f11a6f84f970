"""The network between the parts: cut, slow, or losing packets. Only where all of it is a namespace of the test's own.

`unshare --net` gives one: see test_network.py. Not every kernel has delays to give (netem), so they are made by a relay
through which the packet filter leads every connection.
"""

import socket
import subprocess
import time
from dataclasses import dataclass

from tests.faults.faults import Fault
from tests.faults.relay import MARK, Relay

NAMESPACE_WANTED = "network faults want a network of their own: unshare --net"


@dataclass(frozen=True)
class Lose(Fault):
    """Packets to and from the port that the setting `port` names are lost: all, or a `share` of them."""

    port: str
    seconds: float
    share: float = 1.0

    def inject(self, lab):
        assert in_own_namespace(), NAMESPACE_WANTED
        self._rules("-A", lab)
        time.sleep(self.seconds)  # the fault itself

    def heal(self, lab):
        self._rules("-D", lab)

    def _rules(self, action, lab):
        by_chance = [] if self.share == 1.0 else ["-m", "statistic", "--mode", "random", "--probability", self.share]
        for side in ("--dport", "--sport"):
            port = [side, lab.stack.environment[self.port]]
            iptables(action, "INPUT", "-p", "tcp", *port, *by_chance, "-j", "DROP")


@dataclass(frozen=True)
class CutInTransaction(Lose):
    """All packets are lost while a transaction of the stream waits for its commit: neither end hears of the other."""

    def inject(self, lab):
        lab.hold("before_commit")
        super().inject(lab)

    def _rules(self, action, lab):
        super()._rules(action, lab)
        lab.let_go("before_commit")


@dataclass(frozen=True)
class Delay(Fault):
    """All that goes to and comes from the port that the setting `port` names is `delay_s` on its way, each way.

    Connections that were there before are reset, and their owners make new ones: through the relay, and so once more
    without it at the end.
    """

    port: str
    seconds: float
    delay_s: float

    def inject(self, lab):
        assert in_own_namespace(), NAMESPACE_WANTED
        port = lab.stack.environment[self.port]
        with Relay(port, self.delay_s) as relay:
            others = ["-p", "tcp", "--dport", port, "-m", "mark", "!", "--mark", MARK, "-j"]
            rules = (
                ["nat", "OUTPUT", *others, "REDIRECT", "--to-ports", relay.listens_on],
                ["filter", "OUTPUT", *others, "REJECT", "--reject-with", "tcp-reset"],
            )
            for table, *rule in rules:
                iptables("-t", table, "-A", *rule)
            time.sleep(self.seconds)  # the fault itself
            assert relay.connected, "nobody came through the relay"
            for table, *rule in rules:
                iptables("-t", table, "-D", *rule)


def iptables(*words):
    subprocess.run(["iptables", "-w", *map(str, words)], check=True, timeout=30)


def in_own_namespace():
    """Whether this process has a network apart from the machine's: one of loopback alone."""
    return [name for _, name in socket.if_nameindex()] == ["lo"]
