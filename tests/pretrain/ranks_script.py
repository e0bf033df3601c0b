"""What torchrun starts in `test_ranks`: one run, with options as JSON."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

from support.training import BRIEF, MODEL, MODERN, MUON, load_parts

from vocablab.base.errors import RunError, UserError
from vocablab.model.network import Network
from vocablab.pretrain import loop
from vocablab.training.distributed import ranks


def weighed(network: Network) -> dict[str, float]:
    return {"hook": float(sum(p.abs().sum() for p in network.parameters()))}


def main() -> None:
    out, given = Path(sys.argv[1]), json.loads(sys.argv[2])
    loop.CHECKPOINT_SHARE = math.inf
    config = replace(MUON if given.pop("muon", False) else BRIEF, budget=BRIEF.budget, evaluate_every=0.3)
    model = MODERN if given.pop("modern", False) else MODEL
    stop = given.pop("stop", None)
    real = loop._Run._step

    def step(self: loop._Run, number: int, factor: float) -> tuple[float, float]:
        if number == stop:
            raise RunError("planted")
        return real(self, number, factor)

    loop._Run._step = step
    _, codec, training, held = load_parts(Path(sys.argv[3]))
    out.mkdir(parents=True, exist_ok=True)
    with ranks("cpu") as place:
        try:
            counts = loop.pretrain(
                replace(config, **given), model, codec, training, held, 0, out, lambda *a: None,
                place=place, hook=weighed,
            )  # fmt: skip
        except (RunError, UserError) as error:
            counts = {"error": type(error).__name__, "said": str(error)}
        (out / f"rank{place.rank}.json").write_text(json.dumps(counts))


if __name__ == "__main__":
    main()
