"""What the stages share: partitions, resources, frozen runs, lineage, the generator in use.

No asset is defined here, and nothing is stored: that is `stages`' and `store`'s.
"""

from smotext_assets.graph.column_lineage import DESCRIPTIONS, column_lineage, origins
from smotext_assets.graph.engine import Engine, told
from smotext_assets.graph.frozen_runs import (
    DEFAULTS,
    check_decodes,
    check_made_by,
    check_run,
    frozen_run,
    judged_run,
    run_config,
    run_options,
)
from smotext_assets.graph.generator_in_use import InUse, generator_in_use, load_in_use, of_folder
from smotext_assets.graph.partitions import (
    BY_LABEL_AND_RUN,
    BY_RUN,
    EVERY_LABEL,
    OF_RUN,
    RANGE_END,
    RANGE_START,
    ByLabel,
    follows,
    for_each_partition,
    label_by_run,
    labels,
    neighbours,
    range_tags,
    runs,
)
from smotext_assets.graph.resources import (
    Corpus,
    Exports,
    GeneratorResource,
    Progress,
    StoreResource,
    Warehouse,
)
from smotext_assets.graph.table_io import (
    Table,
    TableIOManager,
    candidates_of,
    column_schema,
    with_candidate_vectors,
    with_vectors,
)

__all__ = [
    "BY_LABEL_AND_RUN",
    "BY_RUN",
    "DEFAULTS",
    "DESCRIPTIONS",
    "EVERY_LABEL",
    "OF_RUN",
    "RANGE_END",
    "RANGE_START",
    "ByLabel",
    "Corpus",
    "Engine",
    "Exports",
    "GeneratorResource",
    "InUse",
    "Progress",
    "StoreResource",
    "Table",
    "TableIOManager",
    "Warehouse",
    "candidates_of",
    "check_decodes",
    "check_made_by",
    "check_run",
    "column_lineage",
    "column_schema",
    "follows",
    "for_each_partition",
    "frozen_run",
    "generator_in_use",
    "judged_run",
    "label_by_run",
    "labels",
    "load_in_use",
    "neighbours",
    "of_folder",
    "origins",
    "range_tags",
    "run_config",
    "run_options",
    "runs",
    "told",
    "with_candidate_vectors",
    "with_vectors",
]
