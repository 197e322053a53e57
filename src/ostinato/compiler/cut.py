"""The cheapest set of points that separates a source from a sink in a directed graph: maximal flow, minimal cut."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from math import inf

Point = Hashable


class Flow:
    """A directed graph with capacities; :meth:`cut` tells what lies on the sink's side of the cheapest cut."""

    def __init__(self) -> None:
        self.left: dict[Point, dict[Point, float]] = {}

    def edge(self, start: Point, end: Point, capacity: float) -> None:
        """Two edges between the same points add up."""
        ends = self.left.setdefault(start, {})
        ends[end] = ends.get(end, 0.0) + capacity
        self.left.setdefault(end, {}).setdefault(start, 0.0)

    def cut(self, source: Point, sink: Point) -> tuple[float, set[Point]]:
        """The cheapest cut's cost and the points on the sink's side: of all such cuts, the one nearest to the sink.

        The cost is infinite if no finite cut exists.
        """
        cost = 0.0
        while path := self._path(source, sink):
            room = min(self.left[a][b] for a, b in path)
            if room == inf:
                return inf, set()
            for a, b in path:
                self.left[a][b] -= room
                self.left[b][a] += room
            cost += room
        return cost, self._behind(sink)

    def _path(self, source: Point, sink: Point) -> list[tuple[Point, Point]]:
        """The shortest path with room on it, as edges; empty if there is none."""
        came: dict[Point, Point] = {source: source}
        queue = deque([source])
        while queue and sink not in came:
            point = queue.popleft()
            for end, room in self.left.get(point, {}).items():
                if room > 0 and end not in came:
                    came[end] = point
                    queue.append(end)
        path: list[tuple[Point, Point]] = []
        point = sink
        while point in came and point != source:
            path.append((came[point], point))
            point = came[point]
        return path

    def _behind(self, sink: Point) -> set[Point]:
        """The points from which there is still room to the sink."""
        found = {sink}
        queue = deque([sink])
        while queue:
            point = queue.popleft()
            for start in self.left.get(point, {}):
                if start not in found and self.left[start][point] > 0:
                    found.add(start)
                    queue.append(start)
        return found
