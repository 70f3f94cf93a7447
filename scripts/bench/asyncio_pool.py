"""asyncio_pool.py - the same pool as one writes it in Python, as a peer.

  asyncio_pool.py lease [BLOCK [ROUND]]
  asyncio_pool.py handoff [TASKS [LEASES_OF_EACH [ROUND]]]
  asyncio_pool.py waiting [TASKS [ROUND]]

A Semaphore admits, a deque holds the idle clients, an asynccontextmanager
lends. It prints samples in the form that table.lua reads.
"""

import asyncio
import sys
import time
from collections import deque
from contextlib import asynccontextmanager


class Pool:
    def __init__(self, clients):
        self._idle = deque(clients)
        self._permits = asyncio.Semaphore(len(clients))

    @asynccontextmanager
    async def client(self):
        async with self._permits:
            client = self._idle.pop()
            try:
                yield client
            finally:
                self._idle.append(client)


def tell(what, number, value):
    print(f"sample\t{what}\tasyncio\t{number}\t{value:.9g}")


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096


async def lease(block=20000, number=0):
    pool = Pool(["key-1", "key-2"])
    start = time.process_time()
    for _ in range(block):
        async with pool.client():
            pass
    ns = (time.process_time() - start) / block * 1e9
    tell("lease main", number, ns)
    tell("lease task", number, ns)


async def handoff(tasks=10000, leases=20, number=0):
    pool = Pool([f"key-{i}" for i in range(10)])
    start_line = asyncio.Event()

    async def holder():
        async with pool.client():
            await start_line.wait()

    async def work():
        for _ in range(leases):
            async with pool.client():
                pass

    jobs = [asyncio.ensure_future(holder()) for _ in range(10)]
    jobs += [asyncio.ensure_future(work()) for _ in range(tasks)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    start = time.process_time()
    start_line.set()
    await asyncio.gather(*jobs)
    ns = (time.process_time() - start) / (tasks * leases) * 1e9
    tell("handoff", number, ns)


async def waiting(tasks=100000, number=0):
    pool = Pool(["key-1", "key-2"])
    name = f"{tasks // 1000}k"
    start_line = asyncio.Event()
    served = 0

    async def holder():
        async with pool.client():
            await start_line.wait()

    async def wait_in_line():
        nonlocal served
        async with pool.client():
            served += 1

    jobs = [asyncio.ensure_future(holder()) for _ in range(2)]
    await asyncio.sleep(0)
    before, start = resident(), time.process_time()
    jobs += [asyncio.ensure_future(wait_in_line()) for _ in range(tasks)]
    await asyncio.sleep(0)
    tell(f"waiting memory {name}", number, (resident() - before) / tasks)
    start_line.set()
    await asyncio.gather(*jobs)
    ns = (time.process_time() - start) / tasks * 1e9
    tell(f"waiting time {name}", number, ns)
    assert served == tasks


if __name__ == "__main__":
    what = {"lease": lease, "handoff": handoff, "waiting": waiting}
    if len(sys.argv) < 2 or sys.argv[1] not in what:
        sys.exit(__doc__)
    asyncio.run(what[sys.argv[1]](*map(int, sys.argv[2:])))
