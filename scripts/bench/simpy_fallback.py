"""simpy_fallback.py - the scenario of sim.lua in SimPy 3, for comparison.

Two models of four clients each; one request in twenty fails on the first model
after 0.05 s and is answered by the second. It brings what the report of
`llmpool sim` brings of such a scenario, by the same rules: requests served and
failed, attempts; latency and wait as mean, p50, p95, p99 and max; of each
client its leases, its share of busy time, and that over time; of each model the
line's mean and greatest depth, and that over time; and a log of all events,
told by its hash. Clients draw from streams of their own.

It is written as one would write it: a Resource a model, monitored as SimPy's
guide has it (a subclass that notes what happens), samples in lists that are
evaluated at the end, events packed and hashed by hashlib. What llmpool does
besides is left out: health and breakers of clients, retry budgets, errors with
their attempts, cancellation, deadlocks. A program that records nothing at all
takes half of this one's time.

    python3 simpy_fallback.py [REQUESTS [ROUND [REPORT]]]

prints what a request costs, as a sample; REPORT: the report as well.
Debian: python3-simpy3.
"""
import hashlib
import json
import math
import random
import struct
import sys
import time

import simpy

RATE, MEAN, FAILS, AFTER, CLIENTS, BUCKETS = 15.0, 0.2, 0.05, 0.05, 4, 512
PAIR = struct.Struct("<dd")


class Log:
    """Counts events, and hashes them in their order."""

    def __init__(self, env):
        self.env, self.hash, self.counts = env, hashlib.blake2b(), {}

    def write(self, kind, model, client, span):
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self.hash.update(kind + model + client + PAIR.pack(self.env.now, span))


class Client:
    """What is lent: it fails by chance, and is busy for a while."""

    def __init__(self, model, number, fails, seed):
        self.name, self.fails = b"key-%d" % number, fails
        self.luck = random.Random("%s/%d/luck/%d" % (model, number, seed))
        self.pace = random.Random("%s/%d/pace/%d" % (model, number, seed))
        self.spans = []  # from when to when it was lent

    def work(self):
        """Whether a request goes well, and how long it takes."""
        if self.luck.random() < self.fails:
            return False, AFTER
        return True, self.pace.expovariate(1 / MEAN)


class Model(simpy.Resource):
    """Clients, the last that came back goes first, and the line for them."""

    def __init__(self, env, log, name, fails, seed):
        super().__init__(env, CLIENTS)
        self.env, self.log, self.name = env, log, name
        self.clients = [Client(name.decode(), i + 1, fails, seed)
                        for i in range(CLIENTS)]
        self.idle = self.clients[::-1]
        self.waits, self.depths = [], [(0.0, 0)]

    def note_depth(self):
        self.depths.append((self.env.now, len(self.queue)))

    def request(self):
        turn = super().request()
        if not turn.triggered:
            self.log.write(b"queued", self.name, b"-", 0)
            self.note_depth()
        return turn

    def lend(self, asked):
        waited = self.env.now - asked
        if waited > 0:
            self.note_depth()
        client = self.idle.pop()
        self.waits.append(waited)
        self.log.write(b"lent", self.name, client.name, waited)
        return client

    def take_back(self, client, lent):
        now = self.env.now
        client.spans.append((lent, now))
        self.idle.append(client)
        self.log.write(b"returned", self.name, client.name, now - lent)


class Traffic:
    """Requests come, and each is tried on one model after the other."""

    def __init__(self, env, log, models, requests, seed):
        self.env, self.log, self.models = env, log, models
        self.requests, self.rng = requests, random.Random(seed)
        self.latencies, self.failed = [], 0

    def arrive(self):
        for _ in range(self.requests):
            yield self.env.timeout(self.rng.expovariate(RATE))
            self.env.process(self.ask())

    def ask(self):
        env, started = self.env, self.env.now
        for model in self.models:
            asked = env.now
            with model.request() as turn:
                yield turn
                client, lent = model.lend(asked), env.now
                well, seconds = client.work()
                yield env.timeout(seconds)
                model.take_back(client, lent)
            if well:
                self.latencies.append(env.now - started)
                self.log.write(b"served", b"-", b"-", env.now - started)
                return
        self.failed += 1
        self.log.write(b"failed", b"-", b"-", env.now - started)


# ---- the report --------------------------------------------------------------


def summary(values):
    ordered, n = sorted(values), len(values)
    mean = sum(ordered) / n if n else 0
    made = {"count": n, "mean": mean}
    for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99), ("max", 1)):
        made[name] = ordered[math.ceil(q * n) - 1] if n else 0
    return made


def over_time(spans, end):
    """What (from, to, weight) add up to in each bucket of the run's time."""
    width = end / BUCKETS
    areas = [0.0] * BUCKETS
    for start, stop, weight in spans:
        i = int(start / width)
        while start < stop and i < BUCKETS:
            till = min(stop, (i + 1) * width)
            areas[i] += weight * (till - start)
            start = till
            i += 1
    return areas


def deepest_over_time(depths, end):
    width = end / BUCKETS
    most = [0] * BUCKETS
    for (since, depth), (until, _) in zip(depths, depths[1:] + [(end, 0)]):
        if depth:
            last = min(BUCKETS - 1, int(until / width))
            for i in range(int(since / width), last + 1):
                most[i] = max(most[i], depth)
    return most


def model_report(model, end):
    depths = model.depths
    ends = [at for at, _ in depths[1:]] + [end]
    lines = [(since, until, depth)
             for (since, depth), until in zip(depths, ends) if depth]
    area = sum((until - since) * depth for since, until, depth in lines)
    clients = {}
    for client in model.clients:
        busy = [(lent, back, 1) for lent, back in client.spans]
        clients[client.name.decode()] = {
            "lends": len(busy),
            "busy": sum(back - lent for lent, back, _ in busy) / end,
            "busy_in": over_time(busy, end)}
    return {"wait": summary(model.waits), "depth": area / end,
            "deepest": max(depth for _, depth in depths),
            "depth_in": over_time(lines, end),
            "depth_max": deepest_over_time(depths, end), "clients": clients}


def report(env, traffic, log):
    end, waits = env.now, []
    for model in traffic.models:
        waits += model.waits
    return {"requests": traffic.requests, "served": len(traffic.latencies),
            "failed": traffic.failed, "seconds": end,
            "latency": summary(traffic.latencies), "wait": summary(waits),
            "attempts": len(waits) / traffic.requests,
            "models": {model.name.decode(): model_report(model, end)
                       for model in traffic.models},
            "events": log.counts, "hash": log.hash.hexdigest()[:16]}


def simulate(requests, seed):
    env = simpy.Environment()
    log = Log(env)
    models = [Model(env, log, b"primary", FAILS, seed),
              Model(env, log, b"backup", 0, seed)]
    traffic = Traffic(env, log, models, requests, seed)
    env.process(traffic.arrive())
    env.run()
    return report(env, traffic, log)


def main():
    requests = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    start = time.process_time()
    made = simulate(requests, number + 1)
    seconds = time.process_time() - start
    assert made["served"] == requests
    if len(sys.argv) > 3:
        made["events"] = {k.decode(): n for k, n in made["events"].items()}
        print(json.dumps(made, indent=1))
    print("sample\tsim request\tSimPy\t%d\t%.9g"
          % (number, seconds / requests * 1e9))


main()
