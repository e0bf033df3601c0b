"""The same work on a cluster, with Ray Data (docs.ray.io): parts are read and blocks encoded on any node.

The nodes must see the job's directory and the files of local sources under the same paths, as on a shared file system.
"""

import pickle
from collections.abc import Iterator
from itertools import islice
from typing import Any

from vocablab.base.errors import UserError
from vocablab.corpus.assembly import assemble
from vocablab.corpus.encoding import encode_block
from vocablab.corpus.parts import WrittenPart
from vocablab.corpus.runs import Summary
from vocablab.corpus.workers import Engine, NumberedPart, blocks_of


class RayEngine(Engine):
    """Ray Data on the cluster that `ray.init` finds, or on this machine."""

    def __init__(self, address: str | None = None) -> None:
        """Connect.

        Args:
            address: of a running cluster; None: the one in ``RAY_ADDRESS``, else a new one on this machine.

        Raises:
            UserError: if ray is not installed or the cluster does not answer.
        """
        try:
            import ray
            import ray.data
        except ImportError:
            raise UserError("--engine ray needs the package ray: pip install 'vocablab[cluster]'.") from None
        self._ray: Any = ray
        if not ray.is_initialized():
            try:
                # One thread per worker: Ray already runs one worker per core.
                ray.init(
                    address=address,
                    log_to_driver=False,
                    include_dashboard=False,
                    runtime_env={"env_vars": {"RAYON_NUM_THREADS": "1"}},
                )
            except (ConnectionError, ValueError) as error:
                raise UserError(f"--engine ray: the cluster {address} does not answer ({error}).") from None
        context = ray.data.DataContext.get_current()
        # Results come in the order of the work: where a source is cut depends on what came before.
        context.execution_options.preserve_order = True
        context.enable_progress_bars = False
        # Every row at once: results say when a source has given its share.
        context.target_max_block_size = 1
        self._wave = 4 * max(1, int(ray.cluster_resources().get("CPU", 1)))

    def encode(self, directory: str, source: int, parts: list[NumberedPart]) -> Iterator[list[Summary]]:
        data = self._ray.data
        for number, part in parts:
            if isinstance(part, WrittenPart):
                # Such a part has no end: its blocks are handed out in waves until the caller has enough.
                blocks = blocks_of(directory, source, [(number, part)])
                while wave := list(islice(blocks, self._wave)):
                    rows = [{"block": pickle.dumps(arguments)} for arguments in wave]
                    yield from _summaries(data.from_items(rows, override_num_blocks=len(rows)).map(_encode))
        files = [{"part": pickle.dumps(pair)} for pair in parts if not isinstance(pair[1], WrittenPart)]
        if files:
            read = data.from_items(files, override_num_blocks=len(files)).flat_map(
                _read, fn_kwargs={"directory": directory, "source": source}
            )
            yield from _summaries(read.map(_encode))

    def assemble(self, directory: str, wanted: list[tuple[str, int]]) -> Iterator[dict[str, Any]]:
        rows = [{"split": split, "number": number} for split, number in wanted]
        data = self._ray.data.from_items(rows, override_num_blocks=len(rows))
        for row in data.map(_assemble, fn_kwargs={"directory": directory}).iter_rows():
            yield pickle.loads(row["counts"])


def _summaries(data: Any) -> Iterator[list[Summary]]:
    for row in data.iter_rows():
        yield [Summary.of_json(summary) for summary in pickle.loads(row["summaries"])]


def _read(row: dict[str, Any], directory: str, source: int) -> Iterator[dict[str, Any]]:
    for arguments in blocks_of(directory, source, [pickle.loads(row["part"])]):
        yield {"block": pickle.dumps(arguments)}


def _encode(row: dict[str, Any]) -> dict[str, Any]:
    found = encode_block(*pickle.loads(row["block"]))
    return {"summaries": pickle.dumps([summary.to_json() for summary in found])}


def _assemble(row: dict[str, Any], directory: str) -> dict[str, Any]:
    return {"counts": pickle.dumps(assemble(directory, str(row["split"]), int(row["number"])))}
