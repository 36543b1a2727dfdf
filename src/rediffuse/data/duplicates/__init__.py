"""Near duplicates: candidates by coarse patterns in sorted orders, verified on pixels, grouped by union-find."""

from rediffuse.data.duplicates.groups import components
from rediffuse.data.duplicates.keys import keys
from rediffuse.data.duplicates.search import Pairs, near_duplicates

__all__ = ["Pairs", "components", "keys", "near_duplicates"]
