"""Does it leak: attacks with a positive control each, the audit of any table, the gates.

Nothing here makes a text private, and nothing says so.
"""

from smotext_core.privacy.attacks import MEASURES, audit
from smotext_core.privacy.canaries import CANARY
from smotext_core.privacy.gates import (
    ACCEPTED,
    HURTS,
    NOT_EVALUATED,
    READERS,
    decided,
    held_back,
    hurts,
    judge,
    red_gates,
)
from smotext_core.privacy.membership import dcr, dcr_train_share
from smotext_core.privacy.table_audit import audit_table

__all__ = [
    "ACCEPTED",
    "CANARY",
    "HURTS",
    "MEASURES",
    "NOT_EVALUATED",
    "READERS",
    "audit",
    "audit_table",
    "dcr",
    "dcr_train_share",
    "decided",
    "held_back",
    "hurts",
    "judge",
    "red_gates",
]
