"""
Judging, before anything is touched, whether the key database and the root store belong together.

The head's epoch says which root is in use; comparing it with the roots that exist tells the cases apart:

    head   roots            what happened                                      what is done
    ─────  ───────────────  ─────────────────────────────────────────────────  ───────────────────────────────────
    none   none             a new installation                                 found it
    none   any              the key database was lost or emptied               refuse
    0      none or 1        founding was cut short                             destroy root 1, found again
    e      e                all is well                                        serve
    e      e, e+1           a round was cut short before its commit            destroy root e+1, draw a fresh one later
    e      e-1, e           a round was cut short after its commit             finish it (steps 3 to 5)
    e      none             the root store was lost                            refuse
    e      all above e      the key database is older than the roots           refuse
    e      all below e      the root store is older than the key database      refuse
    e      e, e+2 or more   the two come from different times                  refuse

"e with e, e+1" has a second reading: root e+1 was committed, root e not destroyed yet, and then somebody put back a key
database of epoch e. The two cannot be told apart, and need not be. No receipt was given for that round, for a receipt
comes after root e is destroyed, so no promise is broken: what the lost commit shredded is shredded again when the
catalog's tombstones are compared with the log. And nothing that this key database holds is lost by destroying root e+1,
which opens none of it. (Users that were added after the copy was made are lost with the newer database, as with any
loss of it.) A store that kept a word of its own about which root is active would move this window, not close it.

For the same reason founding may destroy root 1 while the head is at 0: at that head nothing was ever sealed.
"""

from collections.abc import Sequence

from gateway.base.errors import RefusesToServe
from gateway.base.ids import Epoch
from gateway.keyring.errors import RootDamaged, RootMissing
from gateway.keyring.roots import RootStore

_NEVER_ANEW = "A new root is never drawn over keys that exist, because that would lose every recording."

ROOT_STORE_ADVICE = (
    "Bring back the root store as it was last in use (a live copy or a holder's share; an old backup does not help). "
    + _NEVER_ANEW
)
OLD_KEY_DATABASE_ADVICE = (
    "Bring back the key database as it was last in use: a standby or another live copy, not an older backup. "
    "An older one could open what was shredded since, so it is of no use by design. The catalog may be restored freely."
)
LOST_KEY_DATABASE_ADVICE = (
    "If this installation was in use, bring back its key database, or point the setting to where it is. "
    "If nothing was ever stored here, remove the root store and start again. " + _NEVER_ANEW
)


def refuse_mismatch(head: Epoch | None, roots: Sequence[Epoch]) -> None:
    """
    Return if a key database at *head* may be served, or recovered, with *roots*.

    Raises:
        RefusesToServe: going on would lose everything or bring back what was shredded; carries the advice.
    """
    if head is None:
        if roots:
            raise RefusesToServe(
                f"The key database is empty, but the root store holds {_named(roots)}.",
                advice=LOST_KEY_DATABASE_ADVICE,
            )
        return
    pending = Epoch(head + 1)
    if head == 0:
        if any(epoch != pending for epoch in roots):
            raise RefusesToServe(
                f"The key database was founded but never used, and the root store holds {_named(roots)}.",
                advice=LOST_KEY_DATABASE_ADVICE,
            )
        return
    if not roots:
        raise RefusesToServe(
            f"The key database is at epoch {head}, but the root store is empty.", advice=ROOT_STORE_ADVICE
        )
    if min(roots) > head or max(roots) > pending:
        raise RefusesToServe(
            f"The key database is at epoch {head}, older than the root store, which holds {_named(roots)}.",
            advice=OLD_KEY_DATABASE_ADVICE,
        )
    if head not in roots:
        raise RefusesToServe(
            f"The key database is at epoch {head}, newer than the root store, which holds {_named(roots)}.",
            advice=ROOT_STORE_ADVICE,
        )


async def refuse_damaged(roots: RootStore, epoch: Epoch) -> None:
    """
    Return if the root of *epoch*, which is not listed, is not there at all.

    Raises:
        RootDamaged: something damaged may be it, and should be looked at before anything else is concluded.
    """
    try:
        await roots.read(epoch)
    except RootDamaged:
        raise
    except RootMissing:
        return


def _named(roots: Sequence[Epoch]) -> str:
    plural = "s" if len(roots) > 1 else ""
    return f"the root{plural} of epoch{plural} {', '.join(map(str, sorted(roots)))}"
