"""Score slides with TIAToolbox and CancerNet: ``python in_tiatoolbox.py MODEL.pt SLIDES RESULTS WORKERS``.

Runs in the Python that has TIAToolbox. The last line of stdout is the seconds without imports and model.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import torch
from tiatoolbox.models.engine.io_config import IOPatchPredictorConfig
from tiatoolbox.models.engine.patch_predictor import PatchPredictor
from tiatoolbox.models.models_abc import ModelABC
from tiatoolbox.wsicore.wsireader import WSIReader

SCALE = {"units": "mpp", "resolution": 8.0}
SLIDE_MPP = (1.0, 1.0)
"""It does not take the scale of a plain TIFF from the file."""


class Network(ModelABC):
    """CancerNet as TIAToolbox takes a network: pixels of 0-255 in, probabilities out."""

    def __init__(self, model: str) -> None:
        super().__init__()
        self.network = torch.jit.load(model)

    def forward(self, x):
        return torch.softmax(self.network(x.permute(0, 3, 1, 2).float() / 255), 1)

    @staticmethod
    def infer_batch(model, batch_data, *, device):
        with torch.inference_mode():
            return model(batch_data.to(device)).cpu().numpy()


def main(model: str, slides: str, results: str, workers: str) -> None:
    predictor = PatchPredictor(model=Network(model), batch_size=32, num_workers=int(workers), verbose=False)
    began = time.monotonic()
    predictor.run(
        [WSIReader.open(path, mpp=SLIDE_MPP) for path in sorted(Path(slides).iterdir())],
        patch_mode=False,
        ioconfig=IOPatchPredictorConfig(
            input_resolutions=[SCALE],
            output_resolutions=[SCALE],
            patch_input_shape=(50, 50),
            stride_shape=(50, 50),
        ),
        device="cpu",
        save_dir=Path(results) / "scores",
        output_type="zarr",
        return_probabilities=True,
    )
    print(time.monotonic() - began)


if __name__ == "__main__":
    main(*sys.argv[1:])
