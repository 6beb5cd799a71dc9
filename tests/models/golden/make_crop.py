"""Makes the golden crops: `python make_crop.py`, with Pillow, PyTorch and torchvision."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from seeded import drawn
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms import functional as F

BOXES = [(0, 0, 40, 56), (3, 5, 30, 30), (10, 0, 17, 50), (39, 55, 1, 1), (0, 20, 40, 9), (7, 11, 12, 16)]
SIZE = 24


def main():
    image = drawn("picture", (40, 56)).astype(np.float32)
    grey = Image.fromarray(image)  # mode F: PIL's arithmetic without rounding to bytes
    crops = [np.asarray(F.resized_crop(grey, *box, [SIZE, SIZE])) for box in BOXES]
    tensor = torch.tensor(image)[None, None]
    for (top, left, h, w), crop in zip(BOXES, crops, strict=True):
        cut = tensor[..., top : top + h, left : left + w]
        again = torch.nn.functional.interpolate(cut, (SIZE, SIZE), mode="bilinear", antialias=True)
        assert np.abs(again.numpy()[0, 0] - crop).max() < 1e-5
    colour = np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8)
    squeezed = np.asarray(Image.fromarray(colour).resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    torch.manual_seed(0)
    draw = RandomResizedCrop.get_params
    law = {}
    for h, w in ((288, 288), (40, 80), (10, 100)):
        boxes = [draw(torch.empty(1, h, w), (0.08, 1), (3 / 4, 4 / 3)) for _ in range(2000)]
        law[f"boxes_{h}x{w}"] = np.array(boxes, np.int16)
    here = Path(__file__).parent
    np.savez_compressed(here / "crop.npz", boxes=BOXES, crops=crops, colour=colour, squeezed=squeezed, **law)


if __name__ == "__main__":
    main()
