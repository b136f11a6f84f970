"""The network between the parts: cut, or losing packets. Only where all of it is a namespace of the test's own.

`unshare --net` gives one: see test_network.py. The kernel here has no delays to give (netem), so slow means lossy:
each lost packet is sent again after 200 ms or more.
"""

import socket
import subprocess
import time
from dataclasses import dataclass

from tests.faults.faults import Fault


@dataclass(frozen=True)
class Lose(Fault):
    """Packets to and from the port that the setting `port` names are lost: all, or a `share` of them."""

    port: str
    seconds: float
    share: float = 1.0

    def inject(self, lab):
        assert in_own_namespace(), "network faults want a network of their own: unshare --net"
        self._rules("-A", lab)
        time.sleep(self.seconds)  # the fault itself

    def heal(self, lab):
        self._rules("-D", lab)

    def _rules(self, action, lab):
        by_chance = [] if self.share == 1.0 else ["-m", "statistic", "--mode", "random", "--probability", self.share]
        for side in ("--dport", "--sport"):
            port = [side, lab.stack.environment[self.port]]
            rule = ["iptables", "-w", action, "INPUT", "-p", "tcp", *port, *by_chance, "-j", "DROP"]
            subprocess.run([str(word) for word in rule], check=True, timeout=30)


def in_own_namespace():
    """Whether this process has a network apart from the machine's: one of loopback alone."""
    return [name for _, name in socket.if_nameindex()] == ["lo"]
