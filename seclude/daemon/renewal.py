"""SIGHUP: certificates are read again. Every one that cannot be used leaves the one before in its place."""

import asyncio
import signal
from collections.abc import Callable, Sequence

from prometheus_client import Counter

from seclude.daemon.log import Log
from seclude.daemon.metrics import Metrics
from seclude.errors import ConfigError

RESULTS = ("ok", "error")


class Renewal:
    """Reads again whatever a daemon may read again, and says how it went."""

    def __init__(self, metrics: Metrics, log: Log, renew: Sequence[Callable[[], None]]) -> None:
        """Each of `renew` reads something again, or raises ConfigError and leaves it as it was."""
        self._renew = renew
        self._log = log
        self._results = Counter(
            metrics.name("reloads_total"), "Files read again on SIGHUP", ("result",), registry=metrics.registry
        )
        for result in RESULTS:
            self._results.labels(result)

    def on_hangup(self) -> None:
        """Do so at each SIGHUP from now on."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.run)

    def run(self) -> None:
        """Read everything again."""
        failed = 0
        for renew in self._renew:
            try:
                renew()
            except ConfigError:
                failed += 1
        self._results.labels("error" if failed else "ok").inc()
        self._log.event("reloaded", failed=failed)
