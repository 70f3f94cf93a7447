"""simpy_fallback.py - the scenario of sim.lua in SimPy, for comparison.

Two models of four clients each; one request in twenty fails on the first after
0.05 s and is answered by the second. Prints what a request costs, as a sample.
SimPy 2 and 3 have different interfaces; Debian 12 has 2.3.1.

    python3 simpy_fallback.py [REQUESTS [ROUND]]
"""
import random
import sys
import time

REQUESTS = int(sys.argv[1]) if len(sys.argv) > 1 else 50000
ROUND = int(sys.argv[2]) if len(sys.argv) > 2 else 0
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


def which():
    try:
        import simpy  # noqa: F401
        return simpy3, "SimPy"
    except ImportError:
        import SimPy.Simulation  # noqa: F401
        return simpy2, "SimPy"


def main():
    rng = random.Random(ROUND + 1)
    run, name = which()
    start = time.process_time()
    done = run(rng)
    seconds = time.process_time() - start
    assert done == REQUESTS
    print("sample\tsim request\t%s\t%d\t%.9g"
          % (name, ROUND, seconds / REQUESTS * 1e9))


main()
