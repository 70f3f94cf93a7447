"""simpy_fallback.py - the scenario of sim.lua in SimPy, for comparison.

Two models of four clients each; one request in twenty fails on the first after
0.05 s and is answered by the second. Prints what a request costs.
SimPy 2 and 3 have different interfaces; Debian 12 has 2.3.1.
"""
import random
import sys
import time

REQUESTS = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
RATE, MEAN, FAILS, AFTER, CLIENTS = 15.0, 0.2, 0.05, 0.05, 4


def simpy2(rng):
    from SimPy.Simulation import (Process, Resource, Simulation, hold, release,
                                  request)

    simulation = Simulation()
    primary = Resource(CLIENTS, sim=simulation)
    backup = Resource(CLIENTS, sim=simulation)
    done = [0]

    class Request(Process):
        def run(self):
            yield request, self, primary
            failed = rng.random() < FAILS
            yield hold, self, AFTER if failed else rng.expovariate(1 / MEAN)
            yield release, self, primary
            if failed:
                yield request, self, backup
                yield hold, self, rng.expovariate(1 / MEAN)
                yield release, self, backup
            done[0] += 1

    class Source(Process):
        def run(self):
            for _ in range(REQUESTS):
                yield hold, self, rng.expovariate(RATE)
                one = Request(sim=simulation)
                simulation.activate(one, one.run())

    source = Source(sim=simulation)
    simulation.activate(source, source.run())
    simulation.simulate(until=1e12)
    return done[0]


def simpy3(rng):
    import simpy

    env = simpy.Environment()
    primary = simpy.Resource(env, CLIENTS)
    backup = simpy.Resource(env, CLIENTS)
    done = [0]

    def ask():
        with primary.request() as turn:
            yield turn
            failed = rng.random() < FAILS
            yield env.timeout(AFTER if failed else rng.expovariate(1 / MEAN))
        if failed:
            with backup.request() as turn:
                yield turn
                yield env.timeout(rng.expovariate(1 / MEAN))
        done[0] += 1

    def source():
        for _ in range(REQUESTS):
            yield env.timeout(rng.expovariate(RATE))
            env.process(ask())

    env.process(source())
    env.run()
    return done[0]


def main():
    rng = random.Random(1)
    start = time.process_time()
    try:
        done, name = simpy3(rng), "SimPy 3"
    except ImportError:
        start = time.process_time()
        done, name = simpy2(rng), "SimPy 2"
    seconds = time.process_time() - start
    assert done == REQUESTS
    print("%s %d %.3f" % (name, done, seconds))


main()
