"""
Opened nodes of the key tree, kept for one epoch.
"""

from collections import OrderedDict

from gateway.base.ids import Epoch
from gateway.crypto.ggm import GgmState
from gateway.keyring.pages import STATE_DEPTH, Page, Place, state_place


class NodeCache:
    """
    Holds at most *capacity* opened pages and states, all of the newest epoch that it was told of.

    When the head moves, everything is dropped.
    Within an epoch a state never changes and a page only gains entries: what is found here is right,
    what is not found may be new.
    """

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._epoch = Epoch(0)
        self._nodes: OrderedDict[Place, Page | GgmState] = OrderedDict()

    def page(self, epoch: Epoch, place: Place) -> Page | None:
        """
        Return the page at *place*, if it was kept in this *epoch*.
        """
        node = self._get(epoch, place)
        return node if isinstance(node, Page) else None

    def state(self, epoch: Epoch, slot: int) -> GgmState | None:
        """
        Return the state of *slot*, if it was kept in this *epoch*.
        """
        node = self._get(epoch, state_place(slot))
        return node if isinstance(node, GgmState) else None

    def keep(self, epoch: Epoch, place: Place, node: Page | GgmState) -> None:
        """
        Keep a node that was opened from *epoch*; one of an older epoch than was seen already is not kept.
        """
        assert isinstance(node, GgmState) == (place.depth == STATE_DEPTH)
        self._move_to(epoch)
        if epoch == self._epoch:
            self._nodes[place] = node
            self._nodes.move_to_end(place)
            if len(self._nodes) > self._capacity:
                self._nodes.popitem(last=False)

    def forget_before(self, epoch: Epoch) -> None:
        """
        Drop every node, unless it is of *epoch* or a later one.
        """
        self._move_to(epoch)

    def forget(self) -> None:
        """
        Drop every node.
        """
        self._nodes.clear()

    def __len__(self) -> int:
        return len(self._nodes)

    def _get(self, epoch: Epoch, place: Place) -> Page | GgmState | None:
        self._move_to(epoch)
        if epoch != self._epoch or place not in self._nodes:
            return None
        self._nodes.move_to_end(place)
        return self._nodes[place]

    def _move_to(self, epoch: Epoch) -> None:
        if epoch > self._epoch:
            self._nodes.clear()
            self._epoch = epoch
