"""SIMULATION, no measurement: a camera that one computer cannot follow, its stream split over several writers.

A model of the frame streams with parts: a camera fills a ring at its rate; each of `nodes` writers gets an equal part of
each frame or of the frames over a line of its own, and acknowledges what its disk has taken; a slot is free when all parts have
acknowledged it. Disks stall now and then, independently. What one core does is taken from measurements of this project
(see docs/reference/benchmarks.md); the machines are assumptions, which the options change.

Run ``python benchmarks/outgrowing.py [--rate 10] [--seconds 120]``; all rates are in GB/s.
"""

import argparse
from dataclasses import dataclass

import numpy as np

STEP_S = 1e-3


@dataclass(frozen=True)
class Node:
    """A writer's computer: what each part of it can do, in GB/s."""

    line: float
    receiving: float
    disk: float

    @property
    def bottleneck(self) -> tuple[str, float]:
        """The slowest part and its rate."""
        rates = {"line": self.line, "receiving cores": self.receiving, "disks": self.disk}
        name = min(rates, key=rates.__getitem__)
        return name, rates[name]


@dataclass(frozen=True)
class Outcome:
    """What became of a simulated run."""

    most_bytes: float
    lost_s: float | None


def simulate(
    rate: float, ring: float, nodes: int, node: Node, stalls: tuple[float, float], seconds: float,
    seed: int,
) -> Outcome:  # fmt: skip
    """Run the model.

    Parameters
    ----------
    rate : float
        Of the camera, in GB/s.
    ring : float
        Memory of the ring, in GB.
    nodes : int
        How many writers share the stream.
    node : Node
        Each of them.
    stalls : tuple of float
        How often a node's disks stall, per second, and for how long, in seconds.
    seconds : float
        Of the scan.
    seed : int
        Of the stalls.

    Returns
    -------
    Outcome
        The most that the ring held, and when it was full, if it was.
    """
    random = np.random.default_rng(seed)
    per_step = np.array([rate / nodes * STEP_S, node.bottleneck[1] * STEP_S])
    waiting = np.zeros(nodes)
    stalled_until = np.zeros(nodes)
    most = 0.0
    for step in range(int(seconds / STEP_S)):
        now_s = step * STEP_S
        begins = random.random(nodes) < stalls[0] * STEP_S
        stalled_until[begins] = now_s + stalls[1]
        waiting += per_step[0]
        waiting -= np.where(stalled_until > now_s, 0.0, np.minimum(waiting, per_step[1]))
        # A slot is held until the slowest part has it.
        held = nodes * waiting.max()
        most = max(most, held)
        if held > ring:
            return Outcome(most, now_s)
    return Outcome(most, None)


def main() -> None:
    """Simulate and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=10.0, help="of the camera")
    parser.add_argument("--ring", type=float, default=256.0, help="memory of the ring in GB")
    parser.add_argument(
        "--line", type=float, default=11.0, help="of a node, 100 Gb/s less overhead"
    )
    parser.add_argument(
        "--receiving", type=float, default=2.2, help="a core over TCP, with checksum"
    )
    parser.add_argument("--cores", type=int, default=4, help="that receive on a node")
    parser.add_argument("--disk", type=float, default=5.0, help="of a node's disks together")
    parser.add_argument("--stalls-per-minute", type=float, default=2.0)
    parser.add_argument("--stall-s", type=float, default=3.0)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    # One subscription is read by one thread: more cores need more subscriptions on the node.
    node = Node(given.line, given.receiving * given.cores, given.disk)
    print(f"SIMULATED: {given.rate:g} GB/s for {given.seconds:g} s, ring of {given.ring:g} GB;")
    print(f"a node takes at most {node.bottleneck[1]:g} GB/s, limited by its {node.bottleneck[0]}")
    print(f"{'nodes':>5} {'share':>7} {'load':>6} {'ring at most':>13}   outcome")
    for nodes in range(1, 9):
        outcome = simulate(
            given.rate, given.ring, nodes, node, (given.stalls_per_minute / 60, given.stall_s),
            given.seconds, given.seed,
        )  # fmt: skip
        share = given.rate / nodes
        lost = (
            "every frame stored" if outcome.lost_s is None else f"fails at {outcome.lost_s:.1f} s"
        )
        print(
            f"{nodes:5} {share:7.2f} {share / node.bottleneck[1]:6.0%} "
            f"{outcome.most_bytes:10.1f} GB   {lost}"
        )


if __name__ == "__main__":
    main()
