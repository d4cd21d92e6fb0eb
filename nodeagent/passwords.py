"""The passwords of BGP sessions: each Secret is followed by itself, since an agent may read only those it is named."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NoReturn

from nodeagent.bgp.plan import passwords
from roost.kube import wire
from roost.kube.client import Denied, Kube
from roost.kube.reflector import Reflector
from roost.process import Clock, keep
from roost.words import NAMESPACE


class Passwords:
    """What the Secrets in Roost's namespace say that sessions are to use. *changed* is called when one does."""

    def __init__(self, kube: Kube, clock: Clock, changed: Callable[[], None]) -> None:
        self._kube, self._clock, self._changed = kube, clock, changed
        self._followed: dict[str, Reflector[wire.Secret]] = {}
        self._denied: dict[str, str] = {}
        self._news = asyncio.Event()

    def follow(self, names: Iterable[str]) -> None:
        """The Secrets that are needed now; others are forgotten."""
        wanted = set(names)
        if wanted == self._followed.keys():
            return
        self._followed = {name: self._followed.get(name) or self._reflector(name) for name in sorted(wanted)}
        self._denied = {name: why for name, why in self._denied.items() if name in wanted}
        self._news.set()

    def _reflector(self, name: str) -> Reflector[wire.Secret]:
        by_name = f"metadata.name={name}"
        changed = partial(self._seen, name)
        return Reflector[Any](self._kube, wire.SECRETS, changed, self._clock, namespace=NAMESPACE, fields=by_name)

    def _seen(self, name: str, _key: str, _old: wire.Secret | None, _new: wire.Secret | None) -> None:
        self._denied.pop(name, None)
        self._changed()

    @property
    def settled(self) -> bool:
        """Whether it is known of each that it is there, is not there, or must not be read."""
        return all(one.synced.is_set() or name in self._denied for name, one in self._followed.items())

    @property
    def denied(self) -> Mapping[str, str]:
        """By name the Secrets that this agent must not read, and what the server says."""
        return self._denied

    def known(self) -> dict[tuple[str, str], str]:
        """By name of the Secret and key in it."""
        found = dict[tuple[str, str], str]()
        for reflector in self._followed.values():
            for secret in reflector.items.values():
                found |= passwords(secret)
        return found

    async def run(self) -> NoReturn:
        """Keep a watch on each that is followed."""
        running: dict[str, tuple[Reflector[wire.Secret], asyncio.Task[NoReturn]]] = {}
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._news.clear()
                for name, (reflector, task) in list(running.items()):
                    if self._followed.get(name) is not reflector:
                        task.cancel()
                        del running[name]
                for name, reflector in self._followed.items():
                    if name not in running:
                        work = partial(self._watch, name, reflector)
                        running[name] = reflector, tasks.create_task(keep(f"secret {name}", work, self._clock))
                await self._news.wait()

    async def _watch(self, name: str, reflector: Reflector[wire.Secret]) -> NoReturn:
        try:
            await reflector.run()
        except Denied as error:
            if name in self._followed and self._denied.get(name) != str(error):
                self._denied[name] = str(error)
                self._changed()
            raise
