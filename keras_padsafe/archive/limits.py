"""How much an archive may ask of the machine before it is refused."""

from dataclasses import dataclass

from keras_padsafe.arguments import read_count
from keras_padsafe.errors import ArchiveError

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30


@dataclass(frozen=True)
class Limits:
    """Bounds that a reader enforces while it reads, never after.

    The defaults leave room for the largest models published and stop files made
    to exhaust memory, time or disk. There is no bound on the size of the weights:
    every stored byte of theirs must be there, so a small file cannot claim to be
    a large one.

    Args:
        max_members: Members of a zip file, or files below a directory.
        max_name_bytes: Length of the name of one member.
        max_json_bytes: `config.json`, `metadata.json` or a shard map, inflated.
        max_json_values: Values in a JSON text, a word of a vocabulary being one.
        max_json_depth: Nested brackets in a JSON text.
        max_json_digits: Digits of one integer in a JSON text.
        max_asset_bytes: One asset, inflated.
        max_total_asset_bytes: All assets together, inflated.
        max_inflation: Inflated size over stored size of a compressed member.
        max_json_inflation: The same of a JSON text of more than 4 MiB: reading one
            takes far more memory than its bytes.
        max_objects: Groups and arrays of one HDF5 file.
        max_depth: Nested groups of one HDF5 file.
        max_rank: Dimensions of one array.
        max_attribute_bytes: One attribute of a group or an array.
        max_metadata_bytes: Everything in one HDF5 file that is not array data.
        max_shards: Files that a shard map may name.
    """

    max_members: int = 10_000
    max_name_bytes: int = 1_024
    max_json_bytes: int = 64 * MIB
    max_json_values: int = 5_000_000
    max_json_depth: int = 200
    max_json_digits: int = 100
    max_asset_bytes: int = 256 * MIB
    max_total_asset_bytes: int = GIB
    max_inflation: int = 100
    max_json_inflation: int = 8
    max_objects: int = 200_000
    max_depth: int = 64
    max_rank: int = 16
    max_attribute_bytes: int = 4 * KIB
    max_metadata_bytes: int = 256 * MIB
    max_shards: int = 1_000

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            read_count(value, name, ArchiveError)


SMALL_JSON = 4 * MIB
"""A JSON text that may inflate as any other member."""
